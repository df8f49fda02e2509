// The kinds of model in the shipped workflows: how each is loaded and conditioned, and what looks at it.
// Slots are ["node", "slot name"].

const SHAPES = "a large red circle to the left of a blue square and above a small green triangle"; // held out
const RECORDED = "a large yellow cross to the left of a small purple triangle and above a small red triangle"; // of training
const SCENE = "a red fox in a green raincoat beside two blue bicycles, morning market, film photo";

const FILES = "Choose your own files in the loaders: *models/diffusion_models*, *text_encoders*, *vae*.";
const CHECKPOINT = "Choose your own checkpoint in the loader: *models/checkpoints*.";

const diffusionModel = (unet_name) => ({
  type: "UNETLoader",
  pos: [400, 60],
  size: [300, 90],
  values: { unet_name, weight_dtype: "default" },
});
const vaeFile = (vae_name) => ({ type: "VAELoader", pos: [400, 420], size: [300, 70], values: { vae_name } });
export const negativePrompt = (values, y = 260) => ({
  type: "CLIPTextEncode",
  pos: [760, y],
  size: [300, 150],
  title: "CLIP Text Encode (Negative)",
  values,
});
export const NO_NEGATIVE = { type: "ConditioningZeroOut", pos: [760, 500], size: [300, 40] };
const latent = (type, side) => ({ type, pos: [1140, 410], size: [310, 130], values: { width: side, height: side } });
const FOCUS = { type: "DiffusionProbeAttentionFocus", pos: [1510, 60], size: [310, 50] };

/** What real models have in common. */
const REAL = {
  prompt: SCENE,
  recorded: SCENE,
  unskilled: true,
  scheduler: "simple",
  count: 8,
  keep: 2,
  threshold: 0.5,
  rewrite: "text model",
};

/** A model of the testbed: Load Testbed Model, and a probe that judges previews by the ground truth. */
export const testbed = (name, about, empty, cfg) => ({
  about,
  prompt: SHAPES,
  recorded: RECORDED,
  dataset: `testbed-${name}`,
  nodes: {
    model: { type: "DiffusionProbeLoadTestbedModel", pos: [400, 60], size: [300, 130], values: { name } },
    negative: negativePrompt(),
    latent: latent(empty, 128),
    judge: { type: "DiffusionProbeShapesJudge", pos: [1510, 60], size: [310, 50] },
    probe: { type: "DiffusionProbePreviewReward", pos: [1510, 180], size: [310, 160] },
  },
  links: [
    ["model", "clip", "negative", "clip"],
    ["prompt", "STRING", "probe", "prompt"],
    ["model", "vae", "probe", "vae"],
    ["judge", "reward", "probe", "reward"],
  ],
  model: ["model", "model"],
  clip: ["model", "clip"],
  vae: ["model", "vae"],
  moments: "20%",
  unskilled: false,
  steps: 25,
  cut: 5,
  cfg,
  scheduler: "simple",
  count: 16,
  keep: 4,
  threshold: 0.6, // above what the shipped prompt gets
  rewrite: "regex",
});

/** The same, and the probe that was trained for it beside the preview; it reads words. */
export const withTrainedProbe = ({ nodes: { probe: preview, ...nodes }, links, ...family }, name) => ({
  ...family,
  words: true,
  nodes: {
    ...nodes,
    preview: { ...preview, pos: [1510, 140] },
    trained: {
      type: "DiffusionProbeLoadProbe",
      pos: [1880, 60],
      size: [310, 80],
      values: { name: `testbed/${name}/joint.safetensors` },
    },
    probe: { type: "DiffusionProbeCombineProbes", pos: [1880, 200], size: [310, 80] },
  },
  links: [
    ...links.map(([from, slot, to, input]) => [from, slot, to === "probe" ? "preview" : to, input]),
    ["preview", "probe", "probe", "preview"],
    ["trained", "probe", "probe", "trained"],
  ],
});

/** FLUX.1 from its three files. */
export const flux = (name, about, run) => ({
  ...REAL,
  about: `${about}${FILES}`,
  dataset: name,
  nodes: {
    model: diffusionModel(`${name}.safetensors`),
    clip: {
      type: "DualCLIPLoader",
      pos: [400, 210],
      size: [300, 140],
      values: {
        clip_name1: "clip_l.safetensors",
        clip_name2: "t5xxl_fp16.safetensors",
        type: "flux",
        device: "default",
      },
    },
    vae: vaeFile("ae.safetensors"),
    negative: NO_NEGATIVE,
    latent: latent("EmptySD3LatentImage", 1024),
    probe: FOCUS,
  },
  links: [["positive", "CONDITIONING", "negative", "conditioning"]],
  model: ["model", "MODEL"],
  clip: ["clip", "CLIP"],
  vae: ["vae", "VAE"],
  cfg: 1, // the guidance of FLUX.1-dev is an input of the model
  ...run,
});

/** A model from its three files, with the shift that its schedule is made with; `from` links into `negative`. */
export const shifted = (unet_name, [clip_name, type], vae_name, shift, about, { side, negative, from, ...run }) => ({
  ...REAL,
  about: `${about}${FILES}`,
  nodes: {
    model: diffusionModel(unet_name),
    shift: { type: "ModelSamplingAuraFlow", pos: [760, 600], size: [300, 70], values: { shift } },
    clip: {
      type: "CLIPLoader",
      pos: [400, 230],
      size: [300, 110],
      values: { clip_name, type, device: "default" },
    },
    vae: vaeFile(vae_name),
    latent: latent("EmptySD3LatentImage", side),
    probe: FOCUS,
    negative,
  },
  links: [["model", "MODEL", "shift", "model"], from],
  model: ["shift", "MODEL"],
  clip: ["clip", "CLIP"],
  vae: ["vae", "VAE"],
  ...run,
});

/** A model from one file. */
export const checkpoint = (ckpt_name, about, { empty, avoid, ...run }) => ({
  ...REAL,
  about: `${CHECKPOINT}${about}`,
  nodes: {
    model: { type: "CheckpointLoaderSimple", pos: [400, 60], size: [300, 110], values: { ckpt_name } },
    negative: negativePrompt({ text: avoid }),
    latent: latent(empty, 1024),
    probe: FOCUS,
  },
  links: [["model", "CLIP", "negative", "clip"]],
  model: ["model", "MODEL"],
  clip: ["model", "CLIP"],
  vae: ["model", "VAE"],
  moments: "20%",
  ...run,
});
