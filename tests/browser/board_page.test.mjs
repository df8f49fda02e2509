// What the seed board does in ComfyUI's page: the real frontend and server, in both renderers.
// Started by test_frontend.py with COMFYUI_URL and SCREENSHOTS.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, afterEach, before, describe, test } from "node:test";
import { boards, closeUp, openFrontend, pressRun, setValues, startRun, waitForGraph } from "./page.mjs";

const { COMFYUI_URL, SCREENSHOTS } = process.env;
const SEARCH = "DiffusionProbeSeedSearch";
const template = JSON.parse(await readFile(new URL("../../workflows/seed-search-testbed.json", import.meta.url), "utf-8"));

/** Small and predictable: four candidates, all looked at after two of eight steps, one finished. */
const SMALL = { candidates: 4, survivors: 1, budget: 0, policy: "one cut", steps: 8, hold_for_me: false, hold_seconds: 120 };
let seed = 5000;

for (const [renderer, vue] of [["classic", false], ["nodes2", true]]) {
  describe(`the seed board's page (${renderer})`, () => {
    let browser, page, errors;
    const search = async () => (await boards(page, SEARCH))[0];
    const seeds = async () => (await search()).tiles.map((tile) => tile.seed);
    const value = (name) =>
      page.evaluate(([type, wanted]) => window.app.rootGraph.nodes.find((node) => node.type === type).widgets.find((each) => each.name === wanted).value, [SEARCH, name]);

    /** Opens the template, as Templates does. */
    async function open() {
      await page.evaluate((saved) => window.app.loadGraphData(saved, true, true, "a template", { openSource: "template" }), template);
      await page.waitForTimeout(300);
      seed += 100;
      await setValues(page, SEARCH, { ...SMALL, seed });
      await closeUp(page, (await search()).id);
    }

    /** The board as it is in the page's memory; the view's elements are tested elsewhere. */
    const board = (read) =>
      page.evaluate(async ([type, text]) => {
        const { boards } = await import(`/extensions/${window.packName}/seed_board.js`);
        const node = window.app.rootGraph.nodes.find((each) => each.type === type);
        return new Function("board", `return ${text}`)(boards.boards.get(node));
      }, [SEARCH, read]);

    async function hold() {
      await setValues(page, SEARCH, { hold_for_me: true });
      const run = await startRun(page, 90_000);
      await page.waitForSelector('.dp-board[data-state="held"]', { timeout: 60_000 });
      return run;
    }

    before(async () => {
      ({ browser, page, errors } = await openFrontend(COMFYUI_URL, {
        settings: { "Comfy.VueNodes.Enabled": vue, "Comfy.Execution.PreviewMethod": "latent2rgb" },
      }));
      await page.evaluate((name) => (window.packName = name), process.env.PACK_NAME);
    });
    afterEach(() => fetch(`${COMFYUI_URL}/interrupt`, { method: "POST" }));
    after(() => browser?.close());

    test("shows each candidate's picture once, and none of ComfyUI's previews while it samples", async () => {
      await open();
      await page.evaluate(() => {
        window.previews = [];
        window.app.api.addEventListener("b_preview_with_metadata", () => {
          const twice = document.querySelectorAll('[data-testid^="node-body-"]:has(.dp-root) > img');
          setTimeout(() => window.previews.push([...twice].filter((image) => image.checkVisibility()).length), 50);
        });
      });
      assert.equal((await pressRun(page, 90_000)).type, "execution_success");
      await page.waitForTimeout(500);
      const [previews, node, saver] = await page.evaluate((type) => {
        const { nodes } = window.app.rootGraph;
        const about = (each) => ({ images: each.imgs?.length ?? 0, widgets: each.widgets.map(({ name }) => name) });
        return [window.previews, about(nodes.find((each) => each.type === type)), about(nodes.find((each) => each.type === "DiffusionProbeSaveSeeds"))];
      }, SEARCH);
      assert.ok(previews.length > 0, "there were previews");
      assert.deepEqual(previews.filter(Boolean), []);
      assert.equal(node.images, 0);
      assert.ok(!node.widgets.includes("$$canvas-image-preview"));
      if (!vue) assert.deepEqual([saver.images, saver.widgets.includes("$$canvas-image-preview")], [1, true], "other nodes as ever");
      if (vue) assert.ok(await page.locator(`[data-testid^="node-body-"] img[src*="search_seed"]`).count(), "other nodes as ever");
    });

    test("the finished image of the survivor comes to the board, also after a reload", async () => {
      const found = () => board("[...board.state.images].map(([row, image]) => [board.state.rows.get(row).kept, image.name])");
      const [[kept, name], ...others] = await found();
      assert.deepEqual([kept, others], [true, []]);
      assert.match(name, /^diffusion_probe\/search_seed_\d+_score/);
      const [url] = await board("[...board.state.images.values()].map((image) => image.url)");
      assert.equal((await fetch(new URL(url, COMFYUI_URL))).status, 200);
      await page.waitForTimeout(1500); // ComfyUI keeps the open workflow a moment after a change
      await page.reload({ waitUntil: "domcontentloaded" });
      await waitForGraph(page);
      await page.evaluate((pack) => (window.packName = pack), process.env.PACK_NAME);
      await page.waitForFunction(() => document.querySelectorAll(".dp-tile").length === 4, null, { timeout: 60_000 });
      assert.deepEqual((await found())[0][1], name);
    });

    test("a template that is opened again has a board of its own", async () => {
      const before = await page.evaluate(() => window.app.rootGraph.id);
      await open();
      assert.deepEqual(await seeds(), []);
      assert.notEqual(await page.evaluate(() => window.app.rootGraph.id), before);
      assert.equal(await page.evaluate(() => window.app.rootGraph.extra.diffusion_probe_template), undefined);
    });

    test("says when the settings are others, and marks the board after an error", async () => {
      const age = () => board("board.state.age");
      await pressRun(page, 90_000);
      await page.waitForFunction(() => document.querySelectorAll(".dp-tile").length === 4);
      assert.deepEqual([(await age()).other, (await age()).failed], [false, false]);
      await setValues(page, SEARCH, { cfg: 3 });
      await page.keyboard.press("Shift"); // ComfyUI looks for changes after a key
      await page.mouse.click(700, 950);
      await page.waitForTimeout(600);
      assert.equal((await age()).other, true);
      await setValues(page, SEARCH, { seeds: "no seed" });
      assert.equal((await pressRun(page, 90_000)).type, "execution_error");
      await page.waitForTimeout(500);
      assert.equal((await age()).failed, true);
      assert.equal((await seeds()).length, 4);
      await page.keyboard.press("Escape");
      errors.length = 0; // ComfyUI logs the error
    });

    test("next runs the seeds after these", async () => {
      await open();
      await pressRun(page, 90_000);
      await page.waitForFunction(() => document.querySelectorAll(".dp-tile").length === 4);
      await board(`board.show({ ...board.state, next_seed: "${seed + 4}" })`);
      const ended = page.evaluate(() => new Promise((resolve) => window.app.api.addEventListener("execution_success", resolve, { once: true })).then(() => "success"));
      await board('board.act("next")');
      await ended;
      await page.waitForTimeout(500);
      assert.deepEqual((await seeds()).sort(), [4, 5, 6, 7].map((more) => String(seed + more)));
      assert.equal(await value("seed"), seed + 4);
    });

    test("writes a seed into samplers, also inside of a subgraph, and fixes it", async () => {
      const [targets, after] = await page.evaluate(async (name) => {
        const { app, LiteGraph } = window;
        const make = (type) => {
          const node = LiteGraph.createNode(type);
          app.rootGraph.add(node);
          return node;
        };
        const [one, two, noise, inner] = ["KSampler", "KSamplerAdvanced", "RandomNoise", "KSampler"].map(make);
        const { subgraph, node } = app.rootGraph.convertToSubgraph(new Set([inner]));
        const host = await import(`/extensions/${name}/board/host.js`);
        const all = host.seedNodes();
        for (const { id } of all) host.setSeed(id, 123456789);
        const inside = subgraph.nodes.find(({ type }) => type === "KSampler");
        const of = (each, what) => each.widgets.find((widget) => widget.name === what)?.value;
        const prompt = (await app.graphToPrompt()).output;
        const values = [of(one, "seed"), of(two, "noise_seed"), of(noise, "noise_seed"), prompt[`${node.id}:${inside.id}`].inputs.seed];
        const controls = [one, two, noise, inside].map((each) => of(each, "control_after_generate"));
        for (const each of [one, two, noise, node]) app.rootGraph.remove(each);
        return [all.map(({ title }) => title), [values, controls]];
      }, process.env.PACK_NAME);
      assert.equal(targets.length, 4, targets.join());
      assert.match(targets[0], /^KSampler \(\d+\)$/);
      assert.deepEqual(after, [Array(4).fill(123456789), Array(4).fill("fixed")]);
    });

    test("a hold calls: toast, title, time at the node far out; another workflow's tab leads back to it", async () => {
      await open();
      await page.evaluate(() => window.app.loadGraphData({ nodes: [], links: [], version: 0.4 }, true, true, "elsewhere"));
      await page.evaluate(() => window.app.extensionManager.workflow.openWorkflows.length);
      const tab = page.locator(".workflow-tabs .p-togglebutton, .workflow-tab").filter({ hasText: "a template" }).last();
      await tab.click();
      await page.waitForFunction((type) => window.app.rootGraph.nodes.some((node) => node.type === type), SEARCH);
      const { ended } = await hold();
      const toast = page.locator(".dp-call");
      assert.match(await toast.textContent(), /^Seed Search waits for your choice\d:\d\d/);
      assert.match(await page.title(), /^★ \d:\d\d Choose seeds · /);
      await page.evaluate(() => {
        window.app.canvas.ds.scale = 0.1;
        window.app.canvas.fitViewToSelectionAnimated?.({ duration: 0 });
        window.app.canvas.setDirty(true, true);
      });
      await page.waitForTimeout(500);
      assert.ok(await page.locator(".dp-pill").isVisible());
      if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/board-${renderer}-call.png` });
      await page.locator(".workflow-tabs .p-togglebutton, .workflow-tab").filter({ hasText: "elsewhere" }).last().click();
      await page.waitForFunction((type) => !window.app.rootGraph.nodes.some((node) => node.type === type), SEARCH);
      assert.ok(await page.locator(".dp-pill").isHidden());
      await toast.getByRole("button", { name: "Go to the board" }).click();
      await page.waitForFunction(() => document.activeElement.matches(".dp-tile"), null, { timeout: 20_000 });
      await page.keyboard.press("Enter");
      assert.equal((await ended).type, "execution_success");
      await page.waitForFunction(() => !document.title.startsWith("★"));
      assert.equal(await page.locator(".dp-pill").count(), 0);
    });

    test("a run that ends while another workflow is open is on its board when the user comes back", async () => {
      await open();
      const run = await startRun(page, 90_000);
      await page.evaluate(() => window.app.loadGraphData({ nodes: [], links: [], version: 0.4 }, true, true, "elsewhere"));
      assert.equal((await run.ended).type, "execution_success");
      await page.waitForTimeout(500);
      await page.locator(".workflow-tabs .p-togglebutton, .workflow-tab").filter({ hasText: "a template" }).last().click();
      await page.waitForFunction(() => document.querySelectorAll(".dp-tile").length === 4, null, { timeout: 20_000 });
      assert.equal(await board("board.state.images.size"), 1);
    });

    test("a reload in the middle of a hold goes on with it", async () => {
      await open();
      await page.waitForTimeout(1500);
      await hold();
      await page.reload({ waitUntil: "domcontentloaded" });
      await waitForGraph(page);
      await page.waitForSelector('.dp-board[data-state="held"]', { timeout: 30_000 });
      assert.equal(await page.locator(".dp-call").count(), 1);
      const ended = page.evaluate(() => new Promise((resolve) => window.app.api.addEventListener("execution_success", () => resolve("success"), { once: true })));
      await page.locator(".dp-call-go").click();
      await page.waitForFunction(() => document.activeElement.matches(".dp-tile"), null, { timeout: 20_000 });
      await page.keyboard.press("Enter");
      assert.equal(await ended, "success");
    });

    test("nothing went wrong on the way", () => assert.deepEqual(errors, [], "console errors"));
  });
}
