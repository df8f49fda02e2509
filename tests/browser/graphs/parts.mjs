// What the graphs of the shipped workflows share. The order of nodes and of links decides their ids in the files.
import { filesNote } from "../files.mjs";

const BETWEEN = 50; // between columns

/** Nodes in columns of some widths, from left to right: `[width, { name: node, … }]`; each below those before it. */
export function columns(...all) {
  const placed = {};
  let x = 0;
  for (const [width, nodes] of all) {
    for (const [name, node] of Object.entries(nodes)) placed[name] = { ...node, x, size: [width, node.size[1]] };
    x += width + BETWEEN;
  }
  return placed;
}

/** A note that ends with the files that the nodes load. */
export const note = (text, height, nodes = {}) => ({
  type: "MarkdownNote",
  size: [0, height],
  title: "Read me",
  values: [text + filesNote(nodes)],
});

/** The run itself, in the words of every sampler. */
export const run = ({ steps, cfg, scheduler }) => ({
  steps,
  cfg,
  sampler_name: "euler", // continues exactly when a run is cut
  scheduler,
});

/** All steps from new noise. */
export const kSampler = (family, title = "KSampler") => ({
  type: "KSampler",
  size: [0, 270],
  title,
  values: { seed: 0, control_after_generate: "fixed", ...run(family), denoise: 1 },
});

/** What a sampler takes beside its model. */
export const conditioned = (sampler, positive, latent = ["latent", "LATENT"]) => [
  [...positive, sampler, "positive"],
  ["negative", "CONDITIONING", sampler, "negative"],
  [...latent, sampler, "latent_image"],
];

/** The guidance that FLUX.1-dev takes as an input; other models get the conditioning as it is. */
export function guided({ guidance }, conditioning, name = "guidance") {
  if (!guidance) return { nodes: {}, links: [], conditioning };
  return {
    nodes: { [name]: { type: "FluxGuidance", size: [0, 60], values: { guidance } } },
    links: [[...conditioning, name, "conditioning"]],
    conditioning: [name, "CONDITIONING"],
  };
}

/** The model and its prompt, a column of nodes; `positive` is the slot where the conditioning comes out. */
export function prepared(family) {
  const { negative, latent, ...loaders } = family.nodes;
  const guidance = guided(family, ["positive", "CONDITIONING"]);
  const positive = { type: "CLIPTextEncode", size: [0, 130], title: "CLIP Text Encode (Positive)" };
  return {
    positive: guidance.conditioning,
    nodes: { ...loaders, positive: { ...positive, values: { text: family.prompt } }, ...guidance.nodes, negative, latent },
    links: [...family.links, [...family.clip, "positive", "clip"], ...guidance.links],
  };
}

export const seedBatch = (count) => ({
  type: "DiffusionProbeSeedBatch",
  size: [0, 250],
  values: { first_seed: 1, control_after_generate: "randomize", count, seeds: "" },
});

/** A reward model that ComfyUI can offer to download: its only file is a safetensors file. */
export const REWARD_MODEL = {
  type: "DiffusionProbeLoadRewardModel",
  size: [0, 60],
  values: { name: "PickScore/model.safetensors" },
};

/** A reward model's score of the preview. It takes the prompt of the run, and the VAE that the graph decodes with. */
export const PREVIEWED = {
  nodes: { reward: REWARD_MODEL, probe: { type: "DiffusionProbePreviewReward", size: [0, 110] } },
  links: [["reward", "reward", "probe", "reward"]],
};

/** The text model that Generate Text rewrites prompts with. */
export const TEXT_MODEL = {
  type: "CLIPLoader",
  size: [0, 100],
  title: "Text model",
  values: { clip_name: "qwen3.5_4b_bf16.safetensors", type: "stable_diffusion", device: "default" },
};

export const DECODE = { type: "VAEDecode", size: [0, 50] };

export const decoded = ({ vae }, samples, name = "decode") => [
  [...samples, name, "samples"],
  [...vae, name, "vae"],
];

export const save = (height, name) => ({
  type: "DiffusionProbeSaveSeeds",
  size: [0, height],
  values: { filename_prefix: `diffusion_probe/${name}` },
});
