// The seed board in the real frontend, in both renderers: one page each, runs by the page's own Run button.
// Started by test_frontend.py with COMFYUI_URL and SCREENSHOTS.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, afterEach, before, describe, test } from "node:test";
import { boards, closeUp, openFrontend, pressRun, setValues, startRun, waitForGraph } from "./page.mjs";

const { COMFYUI_URL, SCREENSHOTS } = process.env;
const SEARCH = "DiffusionProbeSeedSearch";
const workflow = async (name) =>
  JSON.parse(await readFile(new URL(`../../workflows/${name}.json`, import.meta.url), "utf-8"));

/** Small and predictable: six candidates, all looked at after two of ten steps, one finished. */
const SMALL = { candidates: 6, survivors: 1, budget: 0, policy: "one cut", steps: 10 };

for (const [renderer, vue] of [["classic", false], ["nodes2", true]]) {
  describe(`the seed board (${renderer})`, () => {
    let browser, page, errors, seed = 100;
    const picture = (name) => page.screenshot({ path: `${SCREENSHOTS}/board-${renderer}-${name}.png` });
    const tile = (number) => page.getByRole("listitem", { name: new RegExp(`^seed ${number},`) });
    const search = async () => (await boards(page, SEARCH))[0];

    async function open(name) {
      await page.evaluate((saved) => window.app.loadGraphData(saved), await workflow(name));
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

    test("holds for pins and discards: a pinned loser is finished in the winner's place", async () => {
      const { ended } = await heldRun();
      const { tiles } = await search();
      const [winner, loser] = [tiles[0].seed, tiles[5].seed];
      await picture("held");
      await tile(loser).hover();
      await page.getByRole("button", { name: `Pin seed ${loser}`, exact: true }).click();
      await page.waitForFunction(() => document.querySelector('.dp-tile[data-mark="pinned"][data-kept="true"]'));
      assert.match((await search()).tiles.find((each) => each.seed === winner).label, /dropped/);
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

    test("nothing went wrong on the way", () => assert.deepEqual(errors, [], "console errors"));
  });
}
