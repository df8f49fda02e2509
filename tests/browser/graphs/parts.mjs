// What the graphs of the shipped workflows share. The order of nodes and of links decides their ids in the files.

export const note = (text) => ({ type: "MarkdownNote", pos: [0, 60], size: [340, 460], title: "Read me", values: [text] });

/** The run itself, in the words of every sampler. */
export const run = ({ steps, cfg, scheduler }) => ({
  steps,
  cfg,
  sampler_name: "euler", // continues exactly when a run is cut
  scheduler,
});

/** All steps from new noise. */
export const kSampler = (family, pos, size, title) => ({
  type: "KSampler",
  pos,
  size,
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
export function guided({ guidance }, conditioning, name, place) {
  if (!guidance) return { nodes: {}, links: [], conditioning };
  return {
    nodes: { [name]: { type: "FluxGuidance", ...place, values: { guidance } } },
    links: [[...conditioning, name, "conditioning"]],
    conditioning: [name, "CONDITIONING"],
  };
}

export const textEncode = (which, place) => ({
  type: "CLIPTextEncode",
  ...place,
  title: `CLIP Text Encode (${which})`,
});

/** The prompt, encoded; `positive` is the slot where its conditioning comes out. */
export function prompted(family) {
  const { nodes, clip, prompt, words } = family;
  const place = { pos: [760, 60], size: [300, 130] };
  const encoded = ["positive", words ? "conditioning" : "CONDITIONING"];
  const guidance = guided(family, encoded, "guidance", { pos: [760, 260], size: [300, 70] });
  return {
    positive: guidance.conditioning,
    nodes: {
      prompt: {
        type: "PrimitiveStringMultiline",
        pos: [400, nodes.vae ? 560 : 260],
        size: [300, 150],
        title: "Prompt",
        values: [prompt],
      },
      positive: words ? { type: "DiffusionProbeEncodeWords", ...place } : textEncode("Positive", place),
      ...guidance.nodes,
    },
    links: [[...clip, "positive", "clip"], ["prompt", "STRING", "positive", "text"], ...guidance.links],
  };
}

export const seedBatch = (pos, count) => ({
  type: "DiffusionProbeSeedBatch",
  pos,
  size: [310, 280],
  values: { first_seed: 1, control_after_generate: "fixed", count, seeds: "" },
});

export const CACHE = {
  type: "DiffusionProbeTCPadeCache",
  pos: [1140, 60],
  size: [310, 300],
  values: { preset: "balanced" },
};

export const REWARD_MODEL = { type: "DiffusionProbeLoadRewardModel", pos: [1510, 60], size: [310, 80] };

export const REWARD_FILES = "The reward model's files go to *models/reward_models*; its help page says where from.\n\n";

export const decode = (pos, width = 340) => ({ type: "VAEDecode", pos, size: [width, 60] });

export const decoded = ({ vae }, samples) => [
  [...samples, "decode", "samples"],
  [...vae, "decode", "vae"],
];

export const save = (pos, size, name) => ({
  type: "DiffusionProbeSaveSeeds",
  pos,
  size,
  values: { filename_prefix: `diffusion_probe/${name}` },
});

/** The groups of the upper row: the model, and `second` beside it. */
export const upperGroups = (second, width = 740) => [
  { title: "1. Model and prompt", bounds: [370, -20, 720, 760] },
  { title: `2. ${second}`, bounds: [1110, -20, width, 760] },
];
