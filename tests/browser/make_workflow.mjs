// Writes workflows/seed-selection-testbed.json through the real frontend, so that it is exactly what the
// frontend saves:  node tests/browser/make_workflow.mjs http://127.0.0.1:8188
// Run it again after a change to the nodes' inputs; the thumbnail comes from a run of the template test.
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { openFrontend } from "./page.mjs";

const TARGET = fileURLToPath(new URL("../../workflows/seed-selection-testbed.json", import.meta.url));
const STEPS = 25;
const CUT = 5;
const PROMPT = "a large red circle to the left of a blue square and above a small green triangle"; // held out

const sampler = (half) => ({
  noise_seed: 0,
  control_after_generate: "fixed",
  steps: STEPS,
  cfg: 2,
  sampler_name: "euler",
  scheduler: "simple",
  ...half,
});

const GRAPH = {
  nodes: {
    about: {
      type: "MarkdownNote",
      pos: [0, 60],
      size: [340, 460],
      title: "Read me",
      values: [
        "## Sample many seeds, finish the good ones\n\n" +
          "16 seeds are sampled for 5 of 25 steps. At 20 % of the noise range the probe looks at each of them and " +
          "scores it. The best 4 are finished; the other 12 cost nothing more.\n\n" +
          "1. Press **Run**.\n2. **Probe Score** shows what each seed would become, and its score.\n" +
          "3. **Early Seed Filter** says which went on. Change *top k*, or set a *threshold*, and run again: only " +
          "the second half is sampled anew.\n\n" +
          "The model is a FLUX of a few megabytes that paints shapes. For FLUX.1-dev, put its loaders in the place " +
          "of *Load Testbed Model*, and a reward model for real images in the place of *Shapes Judge*.",
      ],
    },
    model: { type: "DiffusionProbeLoadTestbedModel", pos: [400, 60], size: [300, 130] },
    prompt: { type: "PrimitiveStringMultiline", pos: [400, 260], size: [300, 150], title: "Prompt", values: [PROMPT] },
    positive: { type: "CLIPTextEncode", pos: [760, 60], size: [300, 130], title: "CLIP Text Encode (Positive)" },
    negative: { type: "CLIPTextEncode", pos: [760, 260], size: [300, 150], title: "CLIP Text Encode (Negative)" },
    seeds: {
      type: "DiffusionProbeSeedBatch",
      pos: [1140, 60],
      size: [310, 280],
      values: { first_seed: 1, control_after_generate: "fixed", count: 16, seeds: "" },
    },
    latent: { type: "EmptySD3LatentImage", pos: [1140, 410], size: [310, 130], values: { width: 128, height: 128 } },
    judge: { type: "DiffusionProbeShapesJudge", pos: [1510, 60], size: [310, 50] },
    reward: { type: "DiffusionProbePreviewReward", pos: [1510, 180], size: [310, 160] },
    attach: { type: "DiffusionProbeAttachProbe", pos: [1510, 410], size: [310, 100], values: { moments: "20%" } },
    first: {
      type: "KSamplerAdvanced",
      pos: [0, 720],
      size: [340, 360],
      title: `KSampler (Advanced): step 0 to ${CUT}, all seeds`,
      values: sampler({
        add_noise: "enable",
        start_at_step: 0,
        end_at_step: CUT,
        return_with_leftover_noise: "enable",
      }),
    },
    score: { type: "DiffusionProbeScore", pos: [400, 720], size: [420, 660] },
    filter: {
      type: "DiffusionProbeEarlySeedFilter",
      pos: [880, 720],
      size: [340, 360],
      values: { top_k: 4, threshold_on: "off", threshold: 0.5, unskilled_scores: "keep all" },
    },
    second: {
      type: "KSamplerAdvanced",
      pos: [1300, 720],
      size: [340, 360],
      title: `KSampler (Advanced): step ${CUT} to ${STEPS}, kept seeds`,
      values: sampler({
        add_noise: "disable",
        start_at_step: CUT,
        end_at_step: 10000,
        return_with_leftover_noise: "disable",
      }),
    },
    decode: { type: "VAEDecode", pos: [1300, 1150], size: [340, 60] },
    save: {
      type: "SaveImage",
      pos: [1700, 720],
      size: [420, 660],
      values: { filename_prefix: "diffusion_probe/kept" },
    },
  },
  links: [
    ["model", "clip", "positive", "clip"],
    ["model", "clip", "negative", "clip"],
    ["prompt", "STRING", "positive", "text"],
    ["prompt", "STRING", "reward", "prompt"],
    ["model", "model", "seeds", "model"],
    ["model", "vae", "reward", "vae"],
    ["judge", "reward", "reward", "reward"],
    ["seeds", "model", "attach", "model"],
    ["reward", "probe", "attach", "probe"],
    ["seeds", "count", "latent", "batch_size"],
    ["attach", "model", "first", "model"],
    ["positive", "CONDITIONING", "first", "positive"],
    ["negative", "CONDITIONING", "first", "negative"],
    ["latent", "LATENT", "first", "latent_image"],
    ["first", "LATENT", "score", "latent"],
    ["attach", "model", "score", "model"],
    ["first", "LATENT", "filter", "latent"],
    ["score", "scores", "filter", "scores"],
    ["model", "model", "second", "model"],
    ["positive", "CONDITIONING", "second", "positive"],
    ["negative", "CONDITIONING", "second", "negative"],
    ["filter", "kept", "second", "latent_image"],
    ["second", "LATENT", "decode", "samples"],
    ["model", "vae", "decode", "vae"],
    ["decode", "IMAGE", "save", "images"],
  ],
  groups: [
    { title: "1. Model and prompt", bounds: [370, -20, 720, 580] },
    { title: "2. Seeds, and what looks at them", bounds: [1110, -20, 740, 580] },
    { title: "3. A few steps for all seeds, then choose", bounds: [-30, 640, 1280, 770] },
    { title: "4. The rest for the best", bounds: [1270, 640, 880, 770] },
  ],
};

/** Runs in the page. */
function build({ nodes, links, groups }) {
  const { app, LiteGraph } = window;
  app.graph.clear();
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
  app.graph.id = crypto.randomUUID();
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

const { browser, page } = await openFrontend(process.argv[2]);
await page.keyboard.press("Escape");
const { workflow, overlaps } = await page.evaluate(build, GRAPH);
await page.waitForTimeout(1000);
if (process.argv[3]) await page.screenshot({ path: process.argv[3] });
await browser.close();
if (overlaps.length) throw new Error(`nodes overlap: ${overlaps}`);
await writeFile(TARGET, `${JSON.stringify(workflow, null, 2)}\n`);
console.log(`${workflow.nodes.length} nodes, ${workflow.links.length} links → ${TARGET}`);
