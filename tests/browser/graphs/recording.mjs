import { DECODE, REWARD_MODEL, columns, conditioned, decoded, kSampler, note, prepared, seedBatch } from "./parts.mjs";

const READ_ME =
  "## Record what probes are trained on\n\n" +
  "Four seeds of a prompt are sampled to the end and scored by PickScore. **Record Probe Data** writes what the model " +
  "showed on its way, and the scores, into *output/probe_data*. A run that is there already costs nothing.\n\n" +
  "1. Press **Run**: the node says what it wrote and how large the dataset is.\n" +
  "2. For thousands of images save this workflow, write your prompts into a file, one a line, and run in the pack's " +
  "folder\n\n`python -m training record WORKFLOW.json --prompts prompts.txt --seeds 8`";

/** Finished images with what the run showed on its way, into a dataset to train probes on. */
export function recording(family, id) {
  const { positive, nodes, links } = prepared(family);
  const { positive: encode, ...others } = nodes;
  const withWords = { type: "DiffusionProbeEncodeWords", size: [0, 60] };
  const prompt = { type: "PrimitiveStringMultiline", size: [0, 130], title: "Prompt", values: [family.prompt] };
  const first = Object.fromEntries(
    Object.entries(nodes).flatMap(([name, node]) => (name === "positive" ? [["prompt", prompt], ["positive", withWords]] : [[name, node]])),
  );
  const run = {
    seeds: seedBatch(4),
    attach: { type: "DiffusionProbeAttachRecorder", size: [0, 70] },
    sampler: kSampler(family),
    decode: DECODE,
    reward: REWARD_MODEL,
  };
  const record = { type: "DiffusionProbeRecord", size: [0, 380], values: { dataset: family.dataset } };
  return {
    id,
    nodes: columns([320, first], [340, run], [520, { record, about: note(READ_ME, 420, { ...others, ...run }) }]),
    links: [
      ...links.map(([from, slot, ...to]) => [from, from === "positive" ? "conditioning" : slot, ...to]),
      ["prompt", "STRING", "positive", "text"],
      [...family.model, "seeds", "model"],
      ["seeds", "model", "attach", "model"],
      ["seeds", "count", "latent", "batch_size"],
      ["attach", "model", "sampler", "model"],
      ...conditioned("sampler", positive),
      ...decoded(family, ["sampler", "LATENT"]),
      ["attach", "model", "record", "model"],
      ["sampler", "LATENT", "record", "latent"],
      ["decode", "IMAGE", "record", "images"],
      ["reward", "reward", "record", "reward"],
      ["prompt", "STRING", "record", "prompt"],
    ],
  };
}
