// What differs between the models of the shipped workflows: loaders, conditioning, probe, and the run itself.
// Slots are ["node", "slot name"].

const SHAPES = "a large red circle to the left of a blue square and above a small green triangle"; // held out
const RECORDED = "a large yellow cross to the left of a small purple triangle and above a small red triangle"; // of training
const SCENE = "a red fox in a green raincoat beside two blue bicycles, morning market, film photo";

const encode = (title, pos, size, values) => ({ type: "CLIPTextEncode", pos, size, title, values });

/** A model of the testbed: Load Testbed Model, and a probe that judges previews by the ground truth. */
const testbed = (name, about, latent, cfg) => ({
  about,
  prompt: SHAPES,
  recorded: RECORDED,
  dataset: `testbed-${name}`,
  nodes: {
    model: { type: "DiffusionProbeLoadTestbedModel", pos: [400, 60], size: [300, 130], values: { name } },
    negative: encode("CLIP Text Encode (Negative)", [760, 260], [300, 150]),
    latent: { type: latent, pos: [1140, 410], size: [310, 130], values: { width: 128, height: 128 } },
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
const flux = (name, about, run) => ({
  about,
  prompt: SCENE,
  recorded: SCENE,
  dataset: name.split(".safe")[0],
  nodes: {
    model: {
      type: "UNETLoader",
      pos: [400, 60],
      size: [300, 90],
      values: { unet_name: name, weight_dtype: "default" },
    },
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
    vae: { type: "VAELoader", pos: [400, 420], size: [300, 70], values: { vae_name: "ae.safetensors" } },
    negative: { type: "ConditioningZeroOut", pos: [760, 500], size: [300, 40] },
    latent: { type: "EmptySD3LatentImage", pos: [1140, 410], size: [310, 130], values: { width: 1024, height: 1024 } },
    probe: { type: "DiffusionProbeAttentionFocus", pos: [1510, 60], size: [310, 50] },
  },
  links: [["positive", "CONDITIONING", "negative", "conditioning"]],
  model: ["model", "MODEL"],
  clip: ["clip", "CLIP"],
  vae: ["vae", "VAE"],
  unskilled: true,
  cfg: 1, // the guidance of FLUX.1-dev is an input of the model
  scheduler: "simple",
  count: 8,
  keep: 2,
  threshold: 0.5,
  rewrite: "text model",
  ...run,
});

const FILES = "Choose your own files in the loaders: *models/diffusion_models*, *text_encoders*, *vae*.";

/** A model from its three files, with the shift that its schedule is made with. */
const shifted = (unet_name, [clip_name, type], vae_name, shift, about, run) => ({
  about: `${about}${FILES}`,
  prompt: SCENE,
  model: ["shift", "MODEL"],
  clip: ["clip", "CLIP"],
  vae: ["vae", "VAE"],
  unskilled: true,
  scheduler: "simple",
  count: 8,
  keep: 2,
  ...run,
  nodes: {
    model: { type: "UNETLoader", pos: [400, 60], size: [300, 90], values: { unet_name, weight_dtype: "default" } },
    shift: { type: "ModelSamplingAuraFlow", pos: [760, 600], size: [300, 70], values: { shift } },
    clip: {
      type: "CLIPLoader",
      pos: [400, 230],
      size: [300, 110],
      values: { clip_name, type, device: "default" },
    },
    vae: { type: "VAELoader", pos: [400, 420], size: [300, 70], values: { vae_name } },
    latent: { type: "EmptySD3LatentImage", pos: [1140, 410], size: [310, 130], values: run.size },
    probe: { type: "DiffusionProbeAttentionFocus", pos: [1510, 60], size: [310, 50] },
    negative: run.negative,
  },
  links: [["model", "MODEL", "shift", "model"], run.from],
});

export const FAMILIES = {
  testbed: testbed(
    "flux",
    "The model is a FLUX of a few megabytes that paints shapes. For the real ones open the templates that end in " +
      "*flux-dev*, *flux-schnell* or *sdxl*.",
    "EmptySD3LatentImage",
    2,
  ),
  "testbed-sdxl": testbed(
    "sdxl",
    "The model is an SDXL of a few megabytes that paints shapes. For the real one open the template that ends in " +
      "*sdxl*.",
    "EmptyLatentImage",
    3,
  ),
  "flux-dev": flux(
    "flux1-dev.safetensors",
    "Choose your own files in the loaders: *models/diffusion_models*, *text_encoders*, *vae*.",
    { moments: "20%", steps: 20, cut: 4, guidance: 3.5 },
  ),
  "flux-schnell": flux(
    "flux1-schnell.safetensors",
    "FLUX.1-schnell needs 4 steps: *auto* looks at the second, which is as early as one can tell anything. " +
      "Choose your own files in the loaders: *models/diffusion_models*, *text_encoders*, *vae*.",
    { moments: "auto", steps: 4, cut: 2 },
  ),
  sdxl: {
    about: "Choose your own checkpoint in the loader: *models/checkpoints*.",
    prompt: SCENE,
    recorded: SCENE,
    dataset: "sdxl",
    nodes: {
      model: {
        type: "CheckpointLoaderSimple",
        pos: [400, 60],
        size: [300, 110],
        values: { ckpt_name: "sd_xl_base_1.0.safetensors" },
      },
      negative: encode("CLIP Text Encode (Negative)", [760, 260], [300, 150], { text: "blurry, watermark" }),
      latent: { type: "EmptyLatentImage", pos: [1140, 410], size: [310, 130], values: { width: 1024, height: 1024 } },
      probe: { type: "DiffusionProbeAttentionFocus", pos: [1510, 60], size: [310, 50] },
    },
    links: [["model", "CLIP", "negative", "clip"]],
    model: ["model", "MODEL"],
    clip: ["model", "CLIP"],
    vae: ["model", "VAE"],
    moments: "20%",
    unskilled: true,
    steps: 25,
    cut: 5,
    cfg: 7,
    scheduler: "normal",
    count: 8,
    keep: 2,
    threshold: 0.5,
    rewrite: "text model",
  },
  "qwen-image": shifted(
    "qwen_image_fp8_e4m3fn.safetensors",
    ["qwen_2.5_vl_7b_fp8_scaled.safetensors", "qwen_image"],
    "qwen_image_vae.safetensors",
    3.1,
    "",
    {
      moments: "20%",
      steps: 20,
      cut: 4,
      cfg: 4,
      size: { width: 1328, height: 1328 },
      negative: encode("CLIP Text Encode (Negative)", [760, 300], [300, 150], { text: "" }),
      from: ["clip", "CLIP", "negative", "clip"],
    },
  ),
  "z-image": shifted(
    "z_image_turbo_bf16.safetensors",
    ["qwen_3_4b.safetensors", "lumina2"],
    "ae.safetensors",
    3,
    "Z-Image Turbo needs 8 steps: *auto* looks at the second, which is as early as one can tell anything. ",
    {
      moments: "auto",
      steps: 8,
      cut: 2,
      cfg: 1,
      size: { width: 1024, height: 1024 },
      negative: { type: "ConditioningZeroOut", pos: [760, 500], size: [300, 40] },
      from: ["positive", "CONDITIONING", "negative", "conditioning"],
    },
  ),
  sd35: {
    about: "Choose your own checkpoint in the loader: *models/checkpoints*. It has to hold the text encoders too.",
    prompt: SCENE,
    nodes: {
      model: {
        type: "CheckpointLoaderSimple",
        pos: [400, 60],
        size: [300, 110],
        values: { ckpt_name: "sd3.5_large_fp8_scaled.safetensors" },
      },
      negative: encode("CLIP Text Encode (Negative)", [760, 260], [300, 150], { text: "" }),
      latent: { type: "EmptySD3LatentImage", pos: [1140, 410], size: [310, 130], values: { width: 1024, height: 1024 } },
      probe: { type: "DiffusionProbeAttentionFocus", pos: [1510, 60], size: [310, 50] },
    },
    links: [["model", "CLIP", "negative", "clip"]],
    model: ["model", "MODEL"],
    clip: ["model", "CLIP"],
    vae: ["model", "VAE"],
    moments: "20%",
    unskilled: true,
    steps: 20,
    cut: 4,
    cfg: 4,
    scheduler: "sgm_uniform",
    count: 8,
    keep: 2,
  },
};
