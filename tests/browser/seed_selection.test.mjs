// The shipped workflow in the real frontend: opened from Templates, run by the page's own Run button.
// Started by test_frontend.py with COMFYUI_URL, PACK_NAME and SCREENSHOTS.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RENDERERS, closeUp, missingNodes, openFrontend, openTemplate, pressRun, shown } from "./page.mjs";

const { COMFYUI_URL, PACK_NAME, SCREENSHOTS } = process.env;
const TEMPLATE = "seed-selection-testbed";

for (const [renderer, vue] of RENDERERS) {
  test(`the template opens from Templates, runs, and finishes with images (${renderer})`, async () => {
    const settings = { "Comfy.VueNodes.Enabled": vue };
    const { browser, page, errors } = await openFrontend(COMFYUI_URL, { settings });
    const picture = (name) => page.screenshot({ path: `${SCREENSHOTS}/${TEMPLATE}-${renderer}-${name}.png` });
    try {
      const { dialog, open } = await openTemplate(page, PACK_NAME, TEMPLATE);
      await picture("templates");
      await open();
      await dialog.waitFor({ state: "hidden" });
      await page.waitForFunction(() => window.app.rootGraph.nodes.length >= 18);
      assert.deepEqual(await missingNodes(page), []);
      const ended = await pressRun(page);
      assert.equal(ended.type, "execution_success", JSON.stringify(ended));
      await page.waitForTimeout(1500); // previews load
      await page.keyboard.press("."); // fit the view
      await page.waitForTimeout(1500);
      await picture("finished");

      const [score] = await shown(page, "DiffusionProbeScore");
      assert.equal(score.images, 16, "a preview for each seed");
      assert.match(score.text, /joint with preview at 20% \(step 5\).*higher is better\n1\. /);
      const [filter] = await shown(page, "DiffusionProbeEarlySeedFilter");
      assert.match(filter.text, /Kept 4 of 16 \(best 4\)/);
      assert.equal((await shown(page, "DiffusionProbeSaveSeeds"))[0].images, 4, "images of the kept seeds only");
      await closeUp(page, filter.id);
      await picture("filter");
      assert.ok(await page.getByText("Kept 4 of 16").first().isVisible(), "the reason is visible in the node");

      const saved = await page.evaluate(() => window.app.rootGraph.serialize());
      const values = saved.nodes.find(({ type }) => type === "DiffusionProbeEarlySeedFilter").widgets_values;
      assert.equal(values.length, 6, `results are not saved as inputs: ${JSON.stringify(values)}`);
      assert.deepEqual(errors, [], "console errors");
    } finally {
      await browser.close();
    }
  });
}
