// Writes workflows/*.json through the real frontend, so that they are exactly what the frontend saves, and names those
// that are not in workflows.mjs:
//   node tests/browser/make_workflows.mjs http://127.0.0.1:8188 [folder for screenshots [names that begin with]]
// Run it again after a change to the nodes' inputs. Thumbnails are made by hand from `make demo`'s contact sheet.
import { readdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { modelsOf } from "./files.mjs";
import { openFrontend } from "./page.mjs";
import { WORKFLOWS } from "./workflows.mjs";

/** Runs in the page. */
function build([{ id, nodes, links }, VIEW, GAP, heights]) {
  const { app, LiteGraph } = window;
  app.graph.clear();
  app.graph.id = id; // before any widget: the frontend keeps their values by it
  app.graph.extra = { diffusion_probe_template: true }; // see `separate` in web/board/host/nodes.js
  const [made, lower] = [{}, {}]; // nodes by name; where each column goes on
  for (const [name, { type, x, size, title, values, models }] of Object.entries(nodes)) {
    const node = LiteGraph.createNode(type);
    if (!node) throw new Error(`no node type ${type}`);
    made[name] = node;
    app.graph.add(node);
    if (title) node.title = title;
    if (models.length) node.properties.models = models;
    for (const [key, value] of Object.entries(values ?? {})) {
      const widget = Array.isArray(values) ? node.widgets[key] : node.widgets.find(({ name }) => name === key);
      if (!widget) throw new Error(`${type} has no widget ${key}: ${node.widgets.map(({ name }) => name)}`);
      widget.value = value;
    }
    const least = node.computeSize();
    node.setSize([Math.max(size[0], least[0]), Math.max(size[1], least[1])]);
    node.pos = [x, lower[x] ?? 0];
    lower[x] = node.pos[1] + Math.max(node.size[1], heights[name] ?? 0) + GAP;
  }
  for (const [from, output, to, input] of links) {
    const slots = [made[from].findOutputSlot(output), made[to].findInputSlot(input)];
    if (slots.includes(-1)) throw new Error(`${from}.${output} → ${to}.${input}: ${slots}`);
    made[from].connect(slots[0], made[to], slots[1]);
  }
  const bar = LiteGraph.NODE_TITLE_HEIGHT;
  const boxes = Object.entries(made).map(([name, { pos, size }]) => [name, pos[0], pos[1] - bar, size[0], size[1] + bar]);
  const far = (at) => Math.max(...boxes.map((box) => box[at] + box[at + 2]));
  const least = (at) => Math.min(...boxes.map((box) => box[at]));
  const [width, height] = [far(1) - least(1), far(2) - least(2)];
  const { ds } = app.canvas;
  ds.scale = Math.min(1, VIEW.width / width, VIEW.height / height); // a page of 1400 × 1000 shows all
  ds.offset = [VIEW.left / ds.scale - least(1), VIEW.top / ds.scale - least(2)];
  const overlaps = [];
  for (const [a, ax, ay, aw, ah] of boxes) {
    for (const [b, bx, by, bw, bh] of boxes) {
      if (a < b && ax < bx + bw && bx < ax + aw && ay < by + bh && by < ay + ah) overlaps.push(`${a}/${b}`);
    }
  }
  const workflow = app.graph.serialize();
  for (const node of workflow.nodes) node.widgets_values ??= []; // as the frontend does once a node was drawn
  return { workflow, overlaps, size: [width, height], ids: Object.fromEntries(Object.entries(made).map(([name, { id }]) => [id, name])) };
}

const GAP = 46; // between nodes that stand below each other, the title bar included
const VIEW = { left: 80, top: 106, width: 1300, height: 880 };
const [url, screenshots, only = ""] = process.argv.slice(2);
const folder = fileURLToPath(new URL("../../workflows/", import.meta.url));
const frontend = (vue) =>
  openFrontend(url, { width: 1400, height: 1000, settings: { "Comfy.VueNodes.Enabled": vue, "Comfy.Minimap.Visible": false } });

/** Heights of nodes in Nodes 2.0, whose widgets need more room than those of the classic renderer, without the title bar. */
async function heightsOf(page, { workflow, ids }) {
  await page.evaluate((graph) => window.app.loadGraphData(graph), workflow);
  await page.waitForTimeout(1500);
  return page.evaluate((ids) => {
    const { scale } = window.app.canvas.ds;
    const height = (id) => document.querySelector(`[data-node-id="${id}"]`).getBoundingClientRect().height / scale;
    return Object.fromEntries(Object.entries(ids).map(([id, name]) => [name, Math.ceil(height(id)) - window.LiteGraph.NODE_TITLE_HEIGHT]));
  }, ids);
}

const graphs = Object.entries(WORKFLOWS).filter(([name]) => name.startsWith(only));
for (const [, { nodes }] of graphs) for (const node of Object.values(nodes)) node.models = modelsOf(node);
const heights = {};
for (const vue of [false, true, false]) {
  const { browser, page } = await frontend(vue);
  for (const [name, graph] of graphs) {
    if (vue) {
      heights[name] = await heightsOf(page, heights[name]);
      continue;
    }
    const measured = heights[name];
    const built = await page.evaluate(build, [graph, VIEW, GAP, measured ?? {}]);
    if (!measured) {
      heights[name] = built;
      continue;
    }
    const { workflow, overlaps, size } = built;
    if (screenshots) {
      await page.waitForTimeout(500);
      await page.screenshot({ path: `${screenshots}/${name}.png` });
    }
    console.log(`${name}: ${workflow.nodes.length} nodes, ${workflow.links.length} links, ${size.map(Math.round).join(" × ")}`);
    if (overlaps.length) throw new Error(`${name}: nodes overlap: ${overlaps}`);
    if (size[0] > 1920 || size[1] > 1350) throw new Error(`${name} is larger than a page shows`);
    await writeFile(`${folder}${name}.json`, `${JSON.stringify(workflow, null, 2)}\n`);
  }
  await browser.close();
}
const left = (await readdir(folder)).filter((file) => file.endsWith(".json") && !(file.slice(0, -5) in WORKFLOWS));
if (left.length) console.log(`Not in workflows.mjs: ${left.join(", ")}`);
