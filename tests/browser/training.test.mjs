// Training and evaluating a probe in the real frontend, in both renderers.
// Started by test_frontend.py with COMFYUI_URL, SCREENSHOTS and a dataset "small".
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { RENDERERS, closeUp, openFrontend, pressRun, savedTemplate, setValues, shown, startRun } from "./page.mjs";

const { COMFYUI_URL, SCREENSHOTS } = process.env;
const TRAIN = "DiffusionProbeTrainProbe";
const EVALUATE = "DiffusionProbeEvaluateProbe";

for (const [renderer, vue] of RENDERERS) {
  describe(`training (${renderer})`, () => {
    let browser, page, errors;
    const name = `made_${renderer}`;

    before(async () => {
      ({ browser, page, errors } = await openFrontend(COMFYUI_URL, { settings: { "Comfy.VueNodes.Enabled": vue } }));
    });
    after(() => browser?.close());

    async function open(template, type, values) {
      await page.evaluate((saved) => window.app.loadGraphData(saved), await savedTemplate(template));
      await page.waitForTimeout(500);
      await setValues(page, type, values);
      const [{ id }] = await shown(page, type);
      await closeUp(page, id);
      return id;
    }

    test("Train Probe draws its loss while it trains, and its report in the node", async () => {
      const chosen = { dataset: "small", kind: "attention cnn", labels: "reward", output_name: name, steps: 80 };
      await open("train-probe", TRAIN, chosen);
      await page.evaluate(() => {
        window.curves = 0;
        window.app.api.addEventListener("b_preview", () => (window.curves += 1));
      });
      const { ended } = await startRun(page, 120_000);
      await page.waitForFunction(() => window.curves > 1, null, { timeout: 60_000 });
      await page.screenshot({ path: `${SCREENSHOTS}/training-${renderer}-live.png` });
      assert.equal((await ended).type, "execution_success");
      const [{ text, images }] = await shown(page, TRAIN);
      assert.match(text, /of 80 steps/);
      assert.equal(images, 1);
      await page.waitForTimeout(1500); // the picture loads
      await page.screenshot({ path: `${SCREENSHOTS}/training-${renderer}-report.png` });
    });

    test("Evaluate Probe shows its table and its pictures", async () => {
      await open("evaluate-probe", EVALUATE, { dataset: "small" });
      await setValues(page, "DiffusionProbeLoadProbe", { name: `${name}.safetensors` });
      assert.equal((await pressRun(page, 60_000)).type, "execution_success");
      const [{ text, images }] = await shown(page, EVALUATE);
      assert.match(text, /best-of-n/);
      assert.equal(images, 1);
      await page.waitForTimeout(1500);
      await page.screenshot({ path: `${SCREENSHOTS}/evaluation-${renderer}.png` });
      assert.deepEqual(errors, []);
    });
  });
}
