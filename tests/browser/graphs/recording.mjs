import {
  REWARD_FILES,
  REWARD_MODEL,
  conditioned,
  decode,
  decoded,
  kSampler,
  note,
  prompted,
  seedBatch,
  upperGroups,
} from "./parts.mjs";

/** Finished images with what the run showed on its way, into a dataset to train probes on. */
export function recording(family, id) {
  const { unskilled, recorded, dataset, about } = family;
  const { positive, ...prompt } = prompted({ ...family, prompt: recorded, words: true });
  const { probe, ...nodes } = family.nodes;
  const withoutProbe = family.links.filter(([, , to]) => to !== "probe");
  return {
    id,
    nodes: {
      about: note(
        "## Record what probes are trained on\n\n" +
          "Four seeds of a prompt are sampled to the end and judged. **Record Probe Data** writes what the model showed " +
          "on its way, and the scores, into *output/probe_data*. A run that is there already costs nothing.\n\n" +
          "1. Press **Run**: the node says what it wrote and how large the dataset is.\n" +
          "2. For thousands of images save this workflow, write your prompts into a file, one a line, and run in the " +
          "pack's folder\n\n`python -m training record WORKFLOW.json --prompts prompts.txt --seeds 8`\n\n" +
          (unskilled ? REWARD_FILES : "") +
          about,
      ),
      ...nodes,
      ...(unskilled ? { judge: REWARD_MODEL } : {}),
      ...prompt.nodes,
      seeds: seedBatch([1140, 60], 4),
      attach: { type: "DiffusionProbeAttachRecorder", pos: [1510, 410], size: [310, 100] },
      sampler: kSampler(family, [400, 840], [340, 320]),
      decode: decode([800, 840], 300),
      record: { type: "DiffusionProbeRecord", pos: [1160, 840], size: [420, 420], values: { dataset } },
    },
    links: [
      ...withoutProbe.map(([from, slot, ...to]) => [from, from === "positive" ? "conditioning" : slot, ...to]),
      ...prompt.links,
      [...family.model, "seeds", "model"],
      ["seeds", "model", "attach", "model"],
      ["seeds", "count", "latent", "batch_size"],
      ["attach", "model", "sampler", "model"],
      ...conditioned("sampler", positive),
      ...decoded(family, ["sampler", "LATENT"]),
      ["attach", "model", "record", "model"],
      ["sampler", "LATENT", "record", "latent"],
      ["decode", "IMAGE", "record", "images"],
      ["judge", "reward", "record", "reward"],
      ["prompt", "STRING", "record", "prompt"],
    ],
    groups: [
      ...upperGroups("Seeds, what judges, what looks"),
      { title: "3. Sample and record", bounds: [370, 760, 1240, 530] },
    ],
  };
}
