// What the real frontend sends for saved workflows when Run is pressed, as JSON by file:
//   node tests/browser/prompts.mjs http://127.0.0.1:8188 FILE.json …
import { readFile } from "node:fs/promises";
import { openFrontend } from "./page.mjs";

const [url, ...files] = process.argv.slice(2);
const { browser, page } = await openFrontend(url, { settings: { "Comfy.VueNodes.Enabled": false } });
const prompts = {};
try {
  for (const file of files) {
    const saved = JSON.parse(await readFile(file, "utf-8"));
    prompts[file] = await page.evaluate(async (workflow) => {
      await window.app.loadGraphData(workflow, true, false, null, { skipAssetScans: true, deferWarnings: true });
      return (await window.app.graphToPrompt()).output;
    }, saved);
  }
} finally {
  await browser.close();
}
process.stdout.write(JSON.stringify(prompts));
