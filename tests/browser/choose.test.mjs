// A new user's first result: the pack's template without downloads, one run, one pick, a finished image; in both renderers at
// the zoom that the template opens with. Started by test_frontend.py with COMFYUI_URL, PACK_NAME and SCREENSHOTS.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { RENDERERS, boards, openFrontend, templateCard } from "./page.mjs";

const { COMFYUI_URL, PACK_NAME, SCREENSHOTS } = process.env;
const SEARCH = "DiffusionProbeSeedSearch";
const FIRST = "Choose from 16 seeds (no downloads)";

for (const [renderer, vue] of RENDERERS) {
  describe(`choosing among seeds (${renderer})`, () => {
    let browser, page, errors, clicks = 0;
    const picture = (name) => page.screenshot({ path: `${SCREENSHOTS}/choose-${renderer}-${name}.png` });
    const search = async () => (await boards(page, SEARCH))[0];
    const click = async (element) => {
      await element.click();
      clicks += 1;
    };
    const saved = () =>
      page.evaluate(() => {
        const node = window.app.rootGraph.nodes.find(({ type }) => type === "DiffusionProbeSaveSeeds");
        return (window.app.nodeOutputs[node.id]?.images ?? []).map(({ filename }) => filename);
      });
    const executed = () =>
      page.evaluate(() => new Promise((resolve) => {
        window.app.api.addEventListener("execution_success", () => resolve(), { once: true });
      }));

    before(async () => {
      await fetch(`${COMFYUI_URL}/free`, { method: "POST", body: JSON.stringify({ free_memory: true }) }); // no cached run
      ({ browser, page, errors } = await openFrontend(COMFYUI_URL, {
        width: 1400,
        height: 1000,
        settings: { "Comfy.VueNodes.Enabled": vue },
      }));
    });
    after(() => browser?.close());

    test("takes five clicks from the templates to a finished image", async () => {
      await click(page.getByRole("button", { name: /templates/i }).first());
      const dialog = page.getByRole("dialog");
      await click(dialog.getByText(PACK_NAME, { exact: true }).first());
      await templateCard(page, dialog, FIRST);
      await click(dialog.getByText(FIRST, { exact: true }).first());
      await dialog.waitFor({ state: "hidden" });
      await page.waitForFunction((type) => window.app.rootGraph.nodes.some((node) => node.type === type), SEARCH);
      await page.waitForTimeout(1000);
      await picture("opened");
      await click(page.getByRole("button", { name: /^Run/ }).first());
      await page.waitForSelector('.dp-board[data-state="held"]', { timeout: 120_000 });
      await picture("held");
      const { tiles } = await search();
      assert.equal(tiles.length, 16);
      assert.ok(tiles.every((tile) => tile.picture));
      const done = executed();
      await click(page.getByRole("button", { name: `Finish seed ${tiles[5].seed} now`, exact: true }).first());
      await done;
      assert.equal((await saved()).length, 1);
      assert.ok(clicks <= 5, `${clicks} clicks`);
      await page.waitForTimeout(1500); // the image loads
      await picture("finished");
      const kept = (await search()).tiles.filter((tile) => tile.kept === "true");
      assert.deepEqual(kept.map(({ seed }) => seed), [tiles[5].seed]);
      assert.deepEqual(errors, []);
    });
  });
}
