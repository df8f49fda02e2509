// Writes workflows/*.json through the real frontend, so that they are exactly what the frontend saves:
//   node tests/browser/make_workflows.mjs http://127.0.0.1:8188 [folder for screenshots [names that begin with]]
// Run it again after a change to the nodes' inputs. Thumbnails are made by hand from `make demo`'s contact sheet.
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { FAMILIES, withTrainedProbe } from "./families.mjs";
import { evaluating, promptGate, recording, seedSearch, seedSelection, stepCache, training } from "./graphs.mjs";
import { openFrontend } from "./page.mjs";

const WORKFLOWS = {
  "seed-selection-testbed": seedSelection(withTrainedProbe(FAMILIES.testbed, "flux"), "481b13f7-aaab-45e7-9540-f543a8e18744"),
  "seed-selection-testbed-sdxl": seedSelection(withTrainedProbe(FAMILIES["testbed-sdxl"], "sdxl"), "0d6e5a94-8c3b-4f17-a2d9-1b7c6e5f4a77"),
  "seed-selection-flux-dev": seedSelection(FAMILIES["flux-dev"], "8d5f6c1e-1f0b-4a55-8d0a-6f2f0a3b7c21"),
  "seed-selection-flux-schnell": seedSelection(FAMILIES["flux-schnell"], "4a1f2d0c-7f0e-4f0b-9b55-0c5f6b1f5d11"),
  "seed-selection-sdxl": seedSelection(FAMILIES.sdxl, "b7a2c9e4-53d6-4c0e-8a0b-6f1b7a8e9d22"),
  "seed-selection-qwen-image": seedSelection(FAMILIES["qwen-image"], "3f7b1d52-8e0a-4c69-b4d1-9a6c2e5f8b10"),
  "seed-selection-sd35": seedSelection(FAMILIES.sd35, "e2a95c08-41d7-4b3f-8c60-7d1f3b9a4e21"),
  "seed-selection-z-image": seedSelection(FAMILIES["z-image"], "70c4e8d9-2b6f-4a13-95e7-c8a0d4f61b32"),
  "seed-search-testbed": seedSearch(FAMILIES.testbed, "5f0d2c3b-7a41-4e69-8b1d-3c9e6a2f7d01"),
  "seed-search-flux-dev": seedSearch(FAMILIES["flux-dev"], "a8e4b6d2-0c35-4f7a-9e21-6d1b8c5f3a02"),
  "seed-search-cache-testbed": seedSearch(FAMILIES.testbed, "7c1e9a54-2b6d-4f38-a0c7-8e5d3b1f6a01", { cached: true }),
  "seed-search-cache-testbed-sdxl": seedSearch(FAMILIES["testbed-sdxl"], "3e8b5d17-9f02-4c6a-b4d1-0a7c2e9f5b02", {
    cached: true,
  }),
  "seed-search-cache-flux-dev": seedSearch(FAMILIES["flux-dev"], "d2a6c3f8-4e71-4b95-8d0a-5f1b7c9e3a03", {
    cached: true,
  }),
  "seed-search-cache-sdxl": seedSearch(FAMILIES.sdxl, "96f0b7e2-1a3c-4d58-9e6b-c4d8a2f15b04", { cached: true }),
  "step-cache-testbed": stepCache(FAMILIES.testbed, "1b9d4e6f-8c25-4a70-b3f6-2d7e5c0a9b05"),
  "step-cache-testbed-sdxl": stepCache(FAMILIES["testbed-sdxl"], "e5c7a1d3-6b48-4f92-a8e0-9b3d1f6c4a06"),
  "step-cache-flux-dev": stepCache(FAMILIES["flux-dev"], "48f2d9b6-0e7a-4c13-9d5b-7a6c8e1f2b07"),
  "step-cache-sdxl": stepCache(FAMILIES.sdxl, "b3e1f7a9-5d64-4820-8c9f-1e0d7b4a6c08"),
  "record-testbed": recording(FAMILIES.testbed, "d41f8a20-6b7e-4c95-8e13-0a5c7f2b9e01"),
  "record-testbed-sdxl": recording(FAMILIES["testbed-sdxl"], "e52a9b31-7c8f-4da6-9f24-1b6d803cae02"),
  "record-flux-dev": recording(FAMILIES["flux-dev"], "f63bac42-8d90-4eb7-a035-2c7e914dbf03"),
  "record-sdxl": recording(FAMILIES.sdxl, "074cbd53-9ea1-4fc8-b146-3d8fa25ec004"),
  "train-probe": training("18a5c7e2-4d3f-4b60-9a17-6c2e8f0b5d01"),
  "evaluate-probe": evaluating("29b6d8f3-5e40-4c71-8b28-7d3f901c6e02"),
  "prompt-gate-testbed": promptGate(FAMILIES.testbed, "2e9b6f57-1c7d-4e3a-a0f8-5d2c4b6a8e33"),
  "prompt-gate-testbed-sdxl": promptGate(FAMILIES["testbed-sdxl"], "6b2f9c81-3e4d-4a5b-9c7f-2d8e1f0a9b88"),
  "prompt-gate-flux-dev": promptGate(FAMILIES["flux-dev"], "c3d8e1a6-9b4f-4d27-8e5c-7a0f3b2c1d44"),
  "prompt-gate-flux-schnell": promptGate(FAMILIES["flux-schnell"], "f5b0a7d2-6e1c-4b98-9c3d-8e2a1f4b5c55"),
  "prompt-gate-sdxl": promptGate(FAMILIES.sdxl, "91c4e7b8-2d5a-4f6e-b1c0-3a9d8f7e6b66"),
};

/** Runs in the page. */
function build({ id, nodes, links, groups }) {
  const { app, LiteGraph } = window;
  app.graph.clear();
  app.graph.id = id; // before any widget: the frontend keeps their values by it
  const made = {};
  for (const [name, { type, pos, size, title, values }] of Object.entries(nodes)) {
    const node = LiteGraph.createNode(type);
    if (!node) throw new Error(`no node type ${type}`);
    made[name] = node;
    app.graph.add(node);
    node.pos = pos;
    if (title) node.title = title;
    for (const [key, value] of Object.entries(values ?? {})) {
      const widget = Array.isArray(values) ? node.widgets[key] : node.widgets.find(({ name }) => name === key);
      if (!widget) throw new Error(`${type} has no widget ${key}: ${node.widgets.map(({ name }) => name)}`);
      widget.value = value;
    }
    const least = node.computeSize();
    node.setSize([Math.max(size[0], least[0]), Math.max(size[1], least[1])]);
  }
  for (const [from, output, to, input] of links) {
    const slots = [made[from].findOutputSlot(output), made[to].findInputSlot(input)];
    if (slots.includes(-1)) throw new Error(`${from}.${output} → ${to}.${input}: ${slots}`);
    made[from].connect(slots[0], made[to], slots[1]);
  }
  for (const { title, bounds } of groups) {
    const group = new LiteGraph.LGraphGroup(title);
    group.pos = bounds.slice(0, 2);
    group.size = bounds.slice(2);
    app.graph.add(group);
  }
  app.canvas.ds.scale = 0.5;
  app.canvas.ds.offset = [80, 120];
  const overlaps = [];
  const boxes = Object.entries(made).map(([name, node]) => [name, ...node.getBounding()]);
  for (const [a, ax, ay, aw, ah] of boxes) {
    for (const [b, bx, by, bw, bh] of boxes) {
      if (a < b && ax < bx + bw && bx < ax + aw && ay < by + bh && by < ay + ah) overlaps.push(`${a}/${b}`);
    }
  }
  return { workflow: app.graph.serialize(), overlaps };
}

const [url, screenshots, only = ""] = process.argv.slice(2);
for (const [name, graph] of Object.entries(WORKFLOWS).filter(([name]) => name.startsWith(only))) {
  const { browser, page } = await openFrontend(url, { settings: { "Comfy.VueNodes.Enabled": true } });
  const { workflow, overlaps } = await page.evaluate(build, graph);
  await page.keyboard.press("."); // fit the view
  await page.waitForTimeout(1500);
  if (screenshots) await page.screenshot({ path: `${screenshots}/${name}.png` });
  await browser.close();
  if (overlaps.length) throw new Error(`nodes overlap: ${overlaps}`);
  const target = fileURLToPath(new URL(`../../workflows/${name}.json`, import.meta.url));
  await writeFile(target, `${JSON.stringify(workflow, null, 2)}\n`);
  console.log(`${name}: ${workflow.nodes.length} nodes, ${workflow.links.length} links`);
}
