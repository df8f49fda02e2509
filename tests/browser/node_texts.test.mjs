// What a user reads in the real frontend: results that survive a change of tabs, help, and Chinese.
// Started by test_frontend.py with COMFYUI_URL, PACK_NAME and SCREENSHOTS.
import assert from "node:assert/strict";
import { test } from "node:test";
import { closeUp, openFrontend, openTemplate, pressRun, shown } from "./page.mjs";
import { runOnTestbed } from "./small_models.mjs";

const { COMFYUI_URL, PACK_NAME, SCREENSHOTS } = process.env;
const CLASSIC = { "Comfy.VueNodes.Enabled": false };

async function openWorkflow(page) {
  const { dialog, open } = await openTemplate(page, PACK_NAME, "Filter 8 seeds early, finish 2 (FLUX.1-dev)");
  await open();
  await dialog.waitFor({ state: "hidden" });
  await page.waitForFunction(() => window.app.rootGraph.nodes.length >= 16);
}

test("results are still shown after another tab was open, and the help panel has the node's page", async () => {
  const { browser, page, errors } = await openFrontend(COMFYUI_URL, { settings: CLASSIC });
  try {
    await runOnTestbed(page);
    await openWorkflow(page);
    assert.equal((await pressRun(page)).type, "execution_success");
    const [before] = await shown(page, "DiffusionProbeScore");
    assert.match(before.text, /higher is better/);
    await page.getByRole("button", { name: /new/i }).first().click();
    await page.waitForFunction(() => window.app.rootGraph.nodes.length === 0);
    await page.getByText("Filter 8 seeds").first().click();
    await page.waitForFunction(() => window.app.rootGraph.nodes.length >= 16);
    await page.waitForTimeout(1000);
    const [after] = await shown(page, "DiffusionProbeScore");
    assert.equal(after.text, before.text);
    assert.equal(after.images, 8);

    await closeUp(page, after.id);
    await page.evaluate((id) => window.app.canvas.selectNode(window.app.rootGraph.getNodeById(id)), after.id);
    await page.locator('[data-testid="info-button"]').click();
    await page.getByText("Scores every row of a half-sampled latent").first().waitFor();
    const image = page.locator('img[src$="docs/images/DiffusionProbeScore.webp"]').first();
    await image.waitFor();
    assert.ok(await image.evaluate((picture) => picture.decode().then(() => picture.naturalWidth > 0)), "its picture");
    await page.screenshot({ path: `${SCREENSHOTS}/help-panel.png` });
    // The frontend asks for a page in the user's language first.
    const others = errors.filter((error) => !error.includes("/docs/DiffusionProbeScore/"));
    assert.deepEqual(others, [], "console errors");
  } finally {
    await browser.close();
  }
});

test("in a Chinese frontend the nodes are Chinese", async () => {
  const { browser, page, errors } = await openFrontend(COMFYUI_URL, { settings: { ...CLASSIC, "Comfy.Locale": "zh" } });
  try {
    const filter = await page.evaluate(() => {
      const node = window.LiteGraph.createNode("DiffusionProbeEarlySeedFilter");
      window.app.graph.clear();
      window.app.graph.add(node);
      node.pos = [100, 100];
      return {
        id: node.id,
        title: node.title,
        inputs: node.inputs.map((input) => input.localized_name),
        outputs: node.outputs.map((output) => output.localized_name),
      };
    });
    assert.equal(filter.title, "早期种子筛选");
    assert.ok(filter.inputs.includes("前 k 名"), filter.inputs.join());
    assert.deepEqual(filter.outputs.slice(0, 5), ["保留", "保留的种子", "保留的评分", "淘汰", "保留的正面条件"]);
    await closeUp(page, filter.id);
    await page.getByText("工作流运行时，候选会显示在这里。").waitFor(); // the board's own texts too
    await page.waitForFunction((id) => {
      const list = window.app.graph.getNodeById(id).widgets.find(({ name }) => name === "unskilled_scores");
      return list._displayValue === "全部保留" && list.value === "keep all"; // what is shown, and what is saved and sent
    }, filter.id);
    await page.screenshot({ path: `${SCREENSHOTS}/chinese.png` });
    assert.deepEqual(errors, [], "console errors");
  } finally {
    await fetch(`${COMFYUI_URL}/api/settings`, { method: "POST", body: JSON.stringify({ "Comfy.Locale": "en" }) });
    await browser.close();
  }
});
