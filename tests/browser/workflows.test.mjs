// Every shipped workflow opens in both renderers: all nodes known, all links and values kept, no error.
// Started by test_frontend.py with COMFYUI_URL, PACK_NAME and SCREENSHOTS.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { test } from "node:test";
import { missingNodes, openFrontend, openTemplate, pressRun, shown, templateCard } from "./page.mjs";

const { COMFYUI_URL, PACK_NAME, SCREENSHOTS } = process.env;
const FOLDER = new URL("../../workflows/", import.meta.url);
const NAMES = (await readdir(FOLDER)).filter((name) => name.endsWith(".json")).map((name) => name.slice(0, -5));

/** What must survive: each node's type and values, and what is linked to what. */
const content = ({ nodes, links }) => ({
  nodes: nodes.map(({ id, type, widgets_values }) => ({ id, type, widgets_values })).sort((a, b) => a.id - b.id),
  links: links.map((link) => link.slice(0, 5)).sort((a, b) => a[0] - b[0]),
});

/** Opens one workflow after the other in the same page. */
async function openAll(page, errors) {
  for (const name of NAMES) {
    const saved = JSON.parse(await readFile(new URL(`${name}.json`, FOLDER), "utf-8"));
    await page.evaluate((workflow) => window.app.loadGraphData(workflow), saved);
    await page.waitForTimeout(300); // what is wrong with a node shows when it is drawn
    assert.deepEqual(await missingNodes(page), [], name);
    assert.deepEqual(content(await page.evaluate(() => window.app.rootGraph.serialize())), content(saved), name);
    assert.deepEqual(errors, [], name);
  }
}

test("every shipped workflow opens whole (classic)", async () => {
  const { browser, page, errors } = await openFrontend(COMFYUI_URL, { settings: { "Comfy.VueNodes.Enabled": false } });
  try {
    await openAll(page, errors);
  } finally {
    await browser.close();
  }
});

test("every shipped workflow is in Templates and opens whole; the gate rewrites, and saves by seed (nodes2)", async () => {
  const { browser, page, errors } = await openFrontend(COMFYUI_URL, { settings: { "Comfy.VueNodes.Enabled": true } });
  try {
    const { dialog, open } = await openTemplate(page, PACK_NAME, "prompt-gate-testbed");
    for (const name of NAMES) await templateCard(page, dialog, name);
    await open();
    await dialog.waitFor({ state: "hidden" });
    await page.waitForFunction(() => window.app.rootGraph.nodes.some(({ type }) => type === "DiffusionProbePromptGate"));
    await page.evaluate(() => {
      const save = window.app.rootGraph.nodes.find(({ type }) => type === "DiffusionProbeSaveSeeds");
      save.widgets.find(({ name }) => name === "filename_prefix").value = "%date:yyyy%/gate";
    });
    const ended = await pressRun(page);
    assert.equal(ended.type, "execution_success", JSON.stringify(ended));
    await page.waitForTimeout(1500); // images load
    const [gate] = await shown(page, "DiffusionProbePromptGate");
    assert.match(gate.text, /Not passed \(mean of all rows: raw score .* < 0\.6\)\. Took otherwise\./);
    const files = await page.evaluate(() => {
      const save = window.app.rootGraph.nodes.find(({ type }) => type === "DiffusionProbeSaveSeeds");
      return window.app.nodeOutputs[save.id].images.map(({ subfolder, filename }) => `${subfolder}/${filename}`);
    });
    const year = new Date().getFullYear();
    assert.deepEqual(files.map((file) => file.slice(0, 16)), [1, 2, 3, 4].map((seed) => `${year}/gate_seed_${seed}`));
    await page.screenshot({ path: `${SCREENSHOTS}/prompt-gate-finished.png` });
    assert.deepEqual(errors, [], "console errors");
    await openAll(page, errors);
  } finally {
    await browser.close();
  }
});
