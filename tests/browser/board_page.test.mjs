// What the seed board does in ComfyUI's page: the real frontend and server, in both renderers.
// Started by test_frontend.py with COMFYUI_URL, PACK_NAME and SCREENSHOTS.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { RENDERERS, boards, closeUp, openFrontend, pressRun, savedTemplate, setValues, startRun, waitForGraph } from "./page.mjs";

const { COMFYUI_URL, PACK_NAME, SCREENSHOTS } = process.env;
const SEARCH = "DiffusionProbeSeedSearch";
const BLANK = { nodes: [], links: [], version: 0.4 };
const template = await savedTemplate("seed-search-testbed");

/** Small and predictable: four candidates, all looked at after two of eight steps, one finished. */
const SMALL = { candidates: 4, survivors: 1, budget: 0, policy: "one cut", steps: 8, hold_for_me: false, hold_seconds: 600 };
let seed = 5000;

for (const [renderer, vue] of RENDERERS) {
  describe(`the seed board's page (${renderer})`, () => {
    let browser, page, errors;
    const seeds = async () => (await boards(page, SEARCH))[0].tiles.map((tile) => tile.seed);

    /** Opens a workflow under a name, as Templates does. */
    async function open(workflow, name) {
      await page.evaluate(([saved, path]) => window.app.loadGraphData(saved, true, true, path, { openSource: "template" }), [workflow, name]);
      await page.waitForFunction((count) => window.app.rootGraph.nodes.length === count, workflow.nodes.length);
    }

    async function openTemplate() {
      await open(template, "a template");
      seed += 100;
      await setValues(page, SEARCH, { ...SMALL, seed });
      await closeUp(page, (await boards(page, SEARCH))[0].id);
    }

    /** Opens a workflow's tab. */
    const tab = (name) => page.locator(".workflow-tabs .p-togglebutton").filter({ hasText: name }).last().click();

    /** What an expression says of the board of the only search; most of it is not in the view's elements. */
    const board = (expression) =>
      page.evaluate(async ([pack, type, text]) => {
        const { boards: all } = await import(`/extensions/${pack}/seed_board.js`);
        const node = window.app.rootGraph.nodes.find((each) => each.type === type);
        return new Function("board", `return ${text}`)(all.boards.get(node));
      }, [PACK_NAME, SEARCH, expression]);

    /** The end of the run that goes on. */
    const success = () =>
      page.evaluate(() => new Promise((resolve) => window.app.api.addEventListener("execution_success", () => resolve("success"), { once: true })));

    const tiles = (count) =>
      page.waitForFunction((wanted) => document.querySelectorAll(".dp-tile").length === wanted, count, { timeout: 60_000 });

    before(async () => {
      ({ browser, page, errors } = await openFrontend(COMFYUI_URL, {
        settings: {
          "Comfy.VueNodes.Enabled": vue,
          "Comfy.Execution.PreviewMethod": "latent2rgb",
          "DiffusionProbe.GoneSeconds": 300, // a reload takes long where others work too
        },
      }));
      await page.waitForTimeout(1000);
    });
    afterEach(() => fetch(`${COMFYUI_URL}/interrupt`, { method: "POST" }));
    after(() => browser?.close());

    test("shows each candidate's picture once, and the finished image; none of ComfyUI's previews", async () => {
      await openTemplate();
      await page.evaluate(() => {
        window.previews = [];
        window.app.api.addEventListener("b_preview_with_metadata", () => {
          const twice = () => document.querySelectorAll('[data-testid^="node-body-"]:has(.dp-root) > img');
          setTimeout(() => window.previews.push([...twice()].filter((image) => image.checkVisibility()).length), 50);
        });
      });
      assert.equal((await pressRun(page, 90_000)).type, "execution_success");
      await page.waitForTimeout(500);
      const [previews, images, widgets, saver] = await page.evaluate((type) => {
        const find = (wanted) => window.app.rootGraph.nodes.find((node) => node.type === wanted);
        const { imgs, widgets: all } = find(type);
        return [window.previews, imgs?.length ?? 0, all.map(({ name }) => name), find("DiffusionProbeSaveSeeds").id];
      }, SEARCH);
      assert.ok(previews.length > 0, "there were previews");
      assert.deepEqual(previews.filter(Boolean), []);
      assert.equal(images, 0);
      assert.ok(!widgets.includes("$$canvas-image-preview"));
      await closeUp(page, saver); // where ComfyUI shows images as ever
      if (vue) await page.waitForSelector('[data-testid^="node-body-"] img[src*="search_seed"]');
      else await page.waitForFunction((id) => window.app.rootGraph.getNodeById(id).imgs?.length === 1, saver);

      const found = "[...board.state.images].map(([row, image]) => [board.state.rows.get(row).kept, image.name, image.url])";
      const [[kept, name, url], ...others] = await board(found);
      assert.deepEqual([kept, others], [true, []]);
      assert.match(name, /^diffusion_probe\/search_seed_\d+_score/);
      assert.equal((await fetch(new URL(url, COMFYUI_URL))).status, 200);
      const has = (file) => page.evaluate(async ([pack, wanted]) => (await import(`/extensions/${pack}/board/host.js`)).hasFile(wanted), [PACK_NAME, file]);
      const [subfolder, filename] = name.split("/");
      assert.deepEqual([await has({ subfolder, filename }), await has({ subfolder, filename: "none.png" })], [true, false]);
    });

    test("says when the settings are others; next runs the seeds after these", async () => {
      assert.deepEqual(await board("[board.state.age.other, board.state.age.failed]"), [false, false]);
      await setValues(page, SEARCH, { cfg: 3 });
      await page.evaluate(() => window.app.extensionManager.workflow.activeWorkflow.changeTracker.captureCanvasState());
      await page.waitForTimeout(400);
      assert.equal(await board("board.state.age.other"), true);
      await board(`board.show({ ...board.state, next_seed: "${seed + 4}" })`);
      const ended = success();
      await board('board.act("next")');
      await ended;
      await page.waitForTimeout(500);
      assert.deepEqual((await seeds()).sort(), [4, 5, 6, 7].map((more) => String(seed + more)));
      assert.equal(await board("board.state.age.other"), false);
    });

    test("finishes what is picked afterwards: its image joins the board, and the workflow stays as it was", async () => {
      const [loser] = await board("[...board.state.rows.values()].filter((row) => !row.finished).map((row) => row.row)");
      await board(`board.act("pin", ${loser})`);
      const saved = () => page.evaluate(() => JSON.stringify(window.app.rootGraph.serialize().nodes.map((node) => node.widgets_values)));
      const before = await saved();
      const ended = success();
      await board('board.act("finish")');
      await ended;
      await page.waitForTimeout(500);
      assert.equal(await saved(), before);
      const rows = await board("[...board.state.rows.values()].map(({ row, finished, kept, mark }) => [row, finished, kept, mark])");
      assert.equal(rows.length, 4);
      assert.deepEqual(rows[loser], [loser, true, true, "pinned"]);
      assert.equal(rows.filter(([, finished]) => finished).length, 2);
      const images = await board("[...board.state.images].map(([row, image]) => [row, image.name])");
      assert.equal(new Set(images.map(([, name]) => name)).size, 2);
      const name = await board(`board.state.rows.get(${loser}).seed`);
      assert.ok(images.find(([row]) => row === loser)[1].includes(`seed_${name}`), images.join());
      assert.equal(await page.locator('.dp-tile[data-finished] img[src*="/view?"]').count(), 2);
    });

    test("marks the board after an error; a template that is opened again has a board of its own", async () => {
      await setValues(page, SEARCH, { seeds: "no seed" });
      assert.equal((await pressRun(page, 90_000)).type, "execution_error");
      await page.waitForTimeout(500);
      assert.equal(await board("board.state.age.failed"), true);
      assert.equal((await seeds()).length, 4);
      await page.keyboard.press("Escape");
      errors.length = 0; // ComfyUI logs the error
      const first = await page.evaluate(() => window.app.rootGraph.id);
      await openTemplate();
      assert.deepEqual(await seeds(), []);
      assert.notEqual(await page.evaluate(() => window.app.rootGraph.id), first);
      assert.equal(await page.evaluate(() => window.app.rootGraph.extra.diffusion_probe_template), undefined);
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
      }, PACK_NAME);
      assert.equal(targets.length, 4, targets.join());
      assert.match(targets[0], /^KSampler \(\d+\)$/);
      assert.deepEqual(after, [Array(4).fill(123456789), Array(4).fill("fixed")]);
    });

    test("a hold calls from another workflow's tab and after a reload; a run that ends elsewhere is on its board", async () => {
      await openTemplate();
      await setValues(page, SEARCH, { hold_for_me: true });
      (await startRun(page, 90_000)).ended.catch(() => {}); // the page is left meanwhile
      await open(BLANK, "elsewhere");
      const toast = page.locator(".dp-call");
      assert.match(await toast.textContent(), /^Seed Search waits for your choice\d+:\d\d/);
      assert.match(await page.title(), /^★ \d+:\d\d Choose seeds · /);
      assert.ok(await page.locator(".dp-pill").isHidden());
      await toast.getByRole("button", { name: "Go to the board" }).click();
      await page.waitForFunction(() => document.activeElement.matches(".dp-tile"), null, { timeout: 60_000 });
      const inSight = await page.locator(".dp-board").evaluate((element) => {
        const { top, bottom } = element.getBoundingClientRect();
        return top < innerHeight && bottom > 0 && Math.abs((top + bottom) / 2 - innerHeight / 2) < 100;
      });
      assert.ok(inSight, "in the middle of the page");
      await page.waitForTimeout(1500); // ComfyUI keeps the open workflow a moment after a change
      await page.reload({ waitUntil: "domcontentloaded" });
      await waitForGraph(page);
      await page.waitForSelector('.dp-board[data-state="held"]', { timeout: 90_000 });
      assert.equal(await toast.count(), 1);
      await page.evaluate((type) => {
        const { canvas, rootGraph } = window.app;
        canvas.ds.scale = 0.1;
        canvas.centerOnNode(rootGraph.nodes.find((node) => node.type === type));
      }, SEARCH);
      await page.waitForTimeout(300);
      assert.match(await page.locator(".dp-pill").textContent(), /^★ \d+:\d\d$/);
      assert.ok(await page.locator(".dp-pill").isVisible(), "far out");
      if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/board-${renderer}-call.png` });
      await page.locator(".dp-pill").click();
      await page.waitForFunction(() => document.activeElement.matches(".dp-tile"), null, { timeout: 60_000 });
      const ended = success();
      await page.keyboard.press("Enter");
      await open(BLANK, "elsewhere 2");
      assert.equal(await ended, "success");
      await page.waitForFunction(() => !document.title.startsWith("★"));
      assert.equal(await page.locator(".dp-pill, .dp-call").count(), 0);
      await tab("a template");
      await tiles(4);
      assert.equal(await board("board.state.images.size"), 1);
    });

    test("nothing went wrong on the way", () => assert.deepEqual(errors, [], "console errors"));
  });
}
