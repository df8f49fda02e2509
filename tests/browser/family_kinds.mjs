// The kinds of model in the shipped workflows: how each is loaded and conditioned. Slots are ["node", "slot name"].

const SHAPES = "a large red circle to the left of a blue square and above a small green triangle"; // held out
const SCENE = "a red fox in a green raincoat beside two blue bicycles, morning market, film photo";

export const negativePrompt = (values) => ({
  type: "CLIPTextEncode",
  size: [320, 110],
  title: "CLIP Text Encode (Negative)",
  values,
});
export const NO_NEGATIVE = { type: "ConditioningZeroOut", size: [320, 40] };
export const FROM_POSITIVE = ["positive", "CONDITIONING", "negative", "conditioning"];
export const FROM_CLIP = ["clip", "CLIP", "negative", "clip"];

const diffusionModel = (unet_name) => ({
  type: "UNETLoader",
  size: [320, 90],
  values: { unet_name, weight_dtype: "default" },
});
const vaeFile = (vae_name) => ({ type: "VAELoader", size: [320, 60], values: { vae_name } });
const latent = (type, side) => ({ type, size: [320, 110], values: { width: side, height: side } });

/** The small FLUX of the testbed, which comes with the pack. */
export const testbed = {
  prompt: SHAPES,
  nodes: {
    model: { type: "DiffusionProbeLoadTestbedModel", size: [320, 130], values: { name: "flux" } },
    negative: negativePrompt(),
    latent: latent("EmptySD3LatentImage", 128),
  },
  links: [["model", "clip", "negative", "clip"]],
  model: ["model", "model"],
  clip: ["model", "clip"],
  vae: ["model", "vae"],
  steps: 25,
  cfg: 2,
  scheduler: "simple",
};

/** FLUX.1 from its three files. */
export const flux = (unet_name, run) => ({
  prompt: SCENE,
  nodes: {
    model: diffusionModel(unet_name),
    clip: {
      type: "DualCLIPLoader",
      size: [320, 140],
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
  },
  links: [FROM_POSITIVE],
  model: ["model", "MODEL"],
  clip: ["clip", "CLIP"],
  vae: ["vae", "VAE"],
  cfg: 1, // the guidance of FLUX.1-dev is an input of the model
  scheduler: "simple",
  ...run,
});

/** A model from its three files, with the shift that its schedule is made with; `from` links into `negative`. */
export const shifted = (unet_name, [clip_name, type], vae_name, shift, { side, negative, from, ...run }) => ({
  prompt: SCENE,
  nodes: {
    model: diffusionModel(unet_name),
    shift: { type: "ModelSamplingAuraFlow", size: [320, 60], values: { shift } },
    clip: { type: "CLIPLoader", size: [320, 110], values: { clip_name, type, device: "default" } },
    vae: vaeFile(vae_name),
    negative,
    latent: latent("EmptySD3LatentImage", side),
  },
  links: [["model", "MODEL", "shift", "model"], from],
  model: ["shift", "MODEL"],
  clip: ["clip", "CLIP"],
  vae: ["vae", "VAE"],
  scheduler: "simple",
  ...run,
});

/** A model from one file, with what is linked into `negative`. */
export const checkpoint = (ckpt_name, { empty, negative, from, ...run }) => ({
  prompt: SCENE,
  nodes: {
    model: { type: "CheckpointLoaderSimple", size: [320, 100], values: { ckpt_name } },
    negative,
    latent: latent(empty, 1024),
  },
  links: [from],
  model: ["model", "MODEL"],
  clip: ["model", "CLIP"],
  vae: ["model", "VAE"],
  ...run,
});
