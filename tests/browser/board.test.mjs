// The seed board in the real frontend, in both renderers: one page each, runs by the page's own Run button.
// Started by test_frontend.py with COMFYUI_URL and SCREENSHOTS.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { RENDERERS, boards, closeUp, openFrontend, pressRun, savedTemplate, setValues, startRun, waitForGraph } from "./page.mjs";

const { COMFYUI_URL, SCREENSHOTS } = process.env;
const SEARCH = "DiffusionProbeSeedSearch";

/** Small and predictable: six candidates, all looked at after two of ten steps, one finished. */
const SMALL = { candidates: 6, survivors: 1, budget: 0, policy: "one cut", steps: 10 };

for (const [renderer, vue] of RENDERERS) {
  describe(`the seed board (${renderer})`, () => {
    let browser, page, errors, seed = 100;
    const picture = (name) => page.screenshot({ path: `${SCREENSHOTS}/board-${renderer}-${name}.png` });
    const tile = (number) => page.getByRole("listitem", { name: new RegExp(`^seed ${number},`) });
    const search = async () => (await boards(page, SEARCH))[0];

    async function open(name) {
      await page.evaluate((saved) => window.app.loadGraphData(saved), await savedTemplate(name));
      await page.waitForTimeout(500);
    }

    /** A search of seeds that were not searched before. */
    async function newSearch(values = {}) {
      seed += 10;
      await setValues(page, SEARCH, { ...SMALL, seed, hold_for_me: false, ...values });
      return seed;
    }

    async function heldRun(values = {}) {
      const first = await newSearch({ hold_for_me: true, ...values });
      const run = await startRun(page, 90_000);
      await page.waitForSelector('.dp-board[data-state="held"]', { timeout: 60_000 });
      return { first, ...run };
    }

    before(async () => {
      ({ browser, page, errors } = await openFrontend(COMFYUI_URL, { settings: { "Comfy.VueNodes.Enabled": vue } }));
      await open("seed-search-testbed");
      await closeUp(page, (await search()).id);
    });
    afterEach(() => fetch(`${COMFYUI_URL}/interrupt`, { method: "POST" }));
    after(() => browser?.close());

    test("fills while the search runs, and says at the end who was kept", async () => {
      await newSearch();
      await page.evaluate(() => {
        window.filled = [];
        window.app.api.addCustomEventListener("diffusion_probe.board", () => {
          window.filled.push(document.querySelectorAll(".dp-img[src]").length);
        });
        window.app.api.addEventListener("execution_success", () => window.filled.push("end"), { once: true });
      });
      assert.equal((await pressRun(page, 60_000)).type, "execution_success");
      const filled = await page.evaluate(() => window.filled);
      assert.ok(filled.indexOf(6) >= 0 && filled.indexOf(6) < filled.indexOf("end"), filled.join());
      const { status, tiles, reason } = await search();
      assert.equal(status, "1 of 6 kept");
      assert.match(reason, /Finished 1 of 6/);
      assert.deepEqual(tiles.map(({ rank }) => rank), [1, 2, 3, 4, 5, 6], "sorted by score");
      assert.deepEqual(tiles.map(({ kept }) => kept), ["true", ...Array(5).fill("false")]);
      assert.ok(tiles.every((each) => each.picture));
      await picture("finished");
    });

    test("copies a seed, by button and by key, and says so", async () => {
      await page.context().grantPermissions(["clipboard-read", "clipboard-write"], { origin: COMFYUI_URL });
      const { tiles } = await search();
      await page.getByRole("button", { name: `More for seed ${tiles[2].seed}`, exact: true }).click();
      await page.getByRole("menuitem", { name: "Copy the seed" }).click();
      await page.waitForFunction((seed) => navigator.clipboard.readText().then((text) => text === seed), tiles[2].seed);
      await tile(tiles[4].seed).focus();
      await page.keyboard.press("c");
      await page.waitForFunction((seed) => navigator.clipboard.readText().then((text) => text === seed), tiles[4].seed);
    });

    test("holds for pins and discards: a pinned loser is finished in the winner's place", async () => {
      const { ended } = await heldRun();
      const { tiles } = await search();
      const [winner, loser] = [tiles[0].seed, tiles[5].seed];
      await picture("held");
      await tile(loser).hover();
      await page.getByRole("button", { name: `Pick seed ${loser}`, exact: true }).click();
      await page.waitForFunction(() => document.querySelector('.dp-tile[data-mark="pinned"][data-kept="true"]'));
      assert.match((await search()).tiles.find((each) => each.seed === winner).label, /not kept/);
      await tile(loser).focus();
      await page.keyboard.press("Enter");
      assert.equal((await ended).type, "execution_success");
      const kept = (await search()).tiles.filter((each) => each.kept === "true");
      assert.deepEqual(kept.map((each) => [each.seed, each.mark]), [[loser, "pinned"]]);
    });

    test("is back after a reload, whole", async () => {
      const before = await search();
      await page.waitForTimeout(1500); // ComfyUI keeps the open workflow a moment after a change
      await page.reload({ waitUntil: "domcontentloaded" });
      await waitForGraph(page);
      await page.waitForFunction(() => document.querySelectorAll(".dp-tile").length === 6, null, { timeout: 60_000 });
      assert.deepEqual((await search()).tiles, before.tiles);
      await closeUp(page, before.id);
    });

    test("keys discard, and ComfyUI's own Cancel ends the wait", async () => {
      const { ended } = await heldRun();
      const [{ seed: winner }, { seed: second }] = (await search()).tiles;
      await tile(winner).focus();
      await page.keyboard.press("Delete");
      await page.waitForFunction(() => document.querySelector('.dp-tile[data-mark="discarded"][data-kept="false"]'));
      assert.equal((await search()).tiles.find((each) => each.kept === "true").seed, second, "the next best moves up");
      assert.equal(await page.evaluate((type) => window.app.rootGraph.nodes.some((node) => node.type === type), SEARCH), true);
      await page.getByRole("button", { name: "Cancel current run" }).first().click();
      assert.equal((await ended).type, "execution_interrupted");
      await page.waitForSelector('.dp-board[data-state="stopped"]');
    });

    test("recovers when the connection drops on the way, and goes on by itself when the time is over", async () => {
      await page.evaluate(() => {
        const drop = () => {
          window.app.api.removeCustomEventListener("diffusion_probe.board", drop);
          window.app.api.socket.close();
        };
        window.app.api.addCustomEventListener("diffusion_probe.board", drop);
      });
      const { ended } = await heldRun({ hold_seconds: 20 }); // the page is back before the time is over
      assert.equal((await search()).tiles.length, 6);
      assert.equal((await ended).type, "execution_success");
      const { tiles, status } = await search();
      assert.equal(status, "1 of 6 kept");
      assert.equal(tiles[0].kept, "true", "the automatic choice");
    });

    test("follows the light theme", async () => {
      const colours = () =>
        page.$eval(".dp-board", (board) => {
          const { color, backgroundColor } = getComputedStyle(board);
          return [color, backgroundColor].map((value) => value.match(/\d+/g).slice(0, 3).reduce((sum, each) => sum + Number(each), 0));
        });
      const palette = (name) =>
        page.evaluate((id) => window.app.extensionManager.setting.set("Comfy.ColorPalette", id), name);
      const [text, back] = await colours();
      assert.ok(text > back, "light on dark");
      await palette("light");
      await page.waitForTimeout(1000);
      const [lightText, lightBack] = await colours();
      await picture("light");
      await palette("dark");
      assert.ok(lightBack - lightText > 300, `dark on light: ${lightText} on ${lightBack}`);
    });

    test("a workflow saved before the board existed still loads, and does not hold", async () => {
      const old = await savedTemplate("seed-search-testbed");
      const node = old.nodes.find(({ type }) => type === SEARCH);
      node.widgets_values = node.widgets_values.slice(0, -2);
      node.inputs = node.inputs.filter(({ name }) => !name.startsWith("hold_"));
      await page.evaluate((saved) => window.app.loadGraphData(saved), old);
      const values = await page.evaluate((type) => {
        const { widgets } = window.app.rootGraph.nodes.find((each) => each.type === type);
        return Object.fromEntries(widgets.map(({ name, value }) => [name, value]));
      }, SEARCH);
      assert.equal(values.hold_for_me, false);
      assert.deepEqual([values.candidates, values.policy, values.sampler_name], [16, "sequential", "euler"]);
      assert.equal(values.unskilled_scores, "refuse");
    });

    test("two boards in one graph show their own, with maps of words; in a subgraph too", async () => {
      await open("seed-selection-testbed");
      await page.evaluate(() => {
        const { app, LiteGraph } = window;
        const find = (type) => app.rootGraph.nodes.find((node) => node.type === type);
        const add = (type) => {
          const node = LiteGraph.createNode(type);
          app.rootGraph.add(node);
          return node;
        };
        const link = (from, output, to, input) => from.connect(output, to, to.findInputSlot(input));
        link(add("DiffusionProbeAttentionFocus"), 0, find("DiffusionProbeAttachProbe"), "probe");
      });
      await setValues(page, "DiffusionProbeSeedBatch", { count: 4, first_seed: vue ? 400 : 300 });
      await setValues(page, "DiffusionProbeEarlySeedFilter", { top_k: 1, unskilled_scores: "use anyway" });
      assert.equal((await pressRun(page, 90_000)).type, "execution_success");
      const [score] = await boards(page, "DiffusionProbeScore");
      const [filter] = await boards(page, "DiffusionProbeEarlySeedFilter");
      assert.equal(score.status, "4 of 4 scored");
      assert.equal(filter.status, "1 of 4 kept");
      assert.match(filter.reason, /no measured skill/);
      assert.deepEqual(score.words.slice(0, 3), filter.words.slice(0, 3));
      assert.ok(score.words.includes("red"), score.words.join());

      await closeUp(page, filter.id);
      const region = page.getByRole("region", { name: "Early Seed Filter" });
      await region.getByRole("button", { name: "red", exact: true }).first().click();
      await region.getByRole("listitem").first().hover();
      assert.ok(await region.locator(".dp-tile .dp-heat[src]").first().isVisible());
      await picture("words");

      await page.evaluate((id) => {
        const { app } = window;
        const { subgraph, node } = app.rootGraph.convertToSubgraph(new Set([app.rootGraph.getNodeById(id)]));
        subgraph.nodes.find(({ type }) => type === "DiffusionProbeEarlySeedFilter").widgets.find(({ name }) => name === "top_k").value = 2;
        window.opened = () => app.canvas.openSubgraph(subgraph, node);
      }, filter.id);
      assert.equal((await pressRun(page, 90_000)).type, "execution_success");
      const [inside] = await boards(page, "DiffusionProbeEarlySeedFilter");
      assert.equal(inside.status, "2 of 4 kept");
      assert.equal((await boards(page, "DiffusionProbeScore"))[0].status, "4 of 4 scored");
      await page.evaluate(() => window.opened());
      await page.waitForTimeout(1500);
      assert.equal(await page.getByRole("region", { name: "Early Seed Filter" }).getByRole("listitem").count(), 4);
      await picture("subgraph");
    });

    test("nothing went wrong on the way", () => assert.deepEqual(errors, [], "console errors"));
  });
}
