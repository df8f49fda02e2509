// Writes workflows/*.json through the real frontend, so that they are exactly what the frontend saves:
//   node tests/browser/make_workflows.mjs http://127.0.0.1:8188 [folder for screenshots [names that begin with]]
// Run it again after a change to the nodes' inputs. Thumbnails are made by hand from `make demo`'s contact sheet.
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { openFrontend } from "./page.mjs";
import { WORKFLOWS } from "./workflows.mjs";

/** Runs in the page. */
function build({ id, nodes, links, groups }) {
  const { app, LiteGraph } = window;
  app.graph.clear();
  app.graph.id = id; // before any widget: the frontend keeps their values by it
  app.graph.extra = { diffusion_probe_template: true }; // see `separate` in web/board/host/nodes.js
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
