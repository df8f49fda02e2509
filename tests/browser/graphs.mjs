// The graphs of the shipped workflows: nodes with their values, links by slot name, groups.

const PROMPT = "a large red circle to the left of a blue square and above a small green triangle"; // held out

const sampler = (steps, cfg, half) => ({
  noise_seed: 0,
  control_after_generate: "fixed",
  steps,
  cfg,
  sampler_name: "euler",
  scheduler: "simple",
  ...half,
});

const GROUPS = [
  { title: "1. Model and prompt", bounds: [370, -20, 720, 580] },
  { title: "2. Seeds, and what looks at them", bounds: [1110, -20, 740, 580] },
  { title: "3. A few steps for all seeds, then choose", bounds: [-30, 640, 1280, 770] },
  { title: "4. The rest for the best", bounds: [1270, 640, 880, 770] },
];

export const TESTBED = {
  id: "481b13f7-aaab-45e7-9540-f543a8e18744",
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
          "The model is a FLUX of a few megabytes that paints shapes. For the real one open the template " +
          "*seed-selection-flux-dev*.",
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
      title: "KSampler (Advanced): step 0 to 5, all seeds",
      values: sampler(25, 2, {
        add_noise: "enable",
        start_at_step: 0,
        end_at_step: 5,
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
      title: "KSampler (Advanced): step 5 to 25, kept seeds",
      values: sampler(25, 2, {
        add_noise: "disable",
        start_at_step: 5,
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
  groups: GROUPS,
};

const SCENE = "a red fox in a green raincoat beside two blue bicycles, morning market, film photo";

export const FLUX_DEV = {
  id: "8d5f6c1e-1f0b-4a55-8d0a-6f2f0a3b7c21",
  nodes: {
    about: {
      type: "MarkdownNote",
      pos: [0, 60],
      size: [340, 460],
      title: "Read me",
      values: [
        "## Sample many seeds of FLUX.1-dev, finish the good ones\n\n" +
          "8 seeds are sampled for 4 of 20 steps. At 20 % of the noise range the probe looks at each of them: " +
          "**Probe Score** shows a preview and a score per seed.\n\n" +
          "*Attention Focus* needs no training. Where its score has no measured skill, **Early Seed Filter** keeps " +
          "all seeds: set *unskilled scores* to *use anyway* to finish the best *top k* only, or connect a better " +
          "probe to **Attach Probe**.\n\n" +
          "Choose your own files in the three loaders.",
      ],
    },
    model: {
      type: "UNETLoader",
      pos: [400, 60],
      size: [300, 90],
      values: { unet_name: "flux1-dev.safetensors", weight_dtype: "default" },
    },
    clip: {
      type: "DualCLIPLoader",
      pos: [400, 210],
      size: [300, 140],
      values: {
        clip_name1: "clip_l.safetensors",
        clip_name2: "t5xxl_fp8_e4m3fn.safetensors",
        type: "flux",
        device: "default",
      },
    },
    vae: { type: "VAELoader", pos: [400, 420], size: [300, 70], values: { vae_name: "ae.safetensors" } },
    positive: { type: "CLIPTextEncode", pos: [760, 60], size: [300, 160], title: "Prompt", values: { text: SCENE } },
    guidance: { type: "FluxGuidance", pos: [760, 290], size: [300, 70], values: { guidance: 3.5 } },
    negative: { type: "ConditioningZeroOut", pos: [760, 430], size: [300, 40] },
    seeds: {
      type: "DiffusionProbeSeedBatch",
      pos: [1140, 60],
      size: [310, 280],
      values: { first_seed: 1, control_after_generate: "fixed", count: 8, seeds: "" },
    },
    latent: { type: "EmptySD3LatentImage", pos: [1140, 410], size: [310, 130], values: { width: 1024, height: 1024 } },
    focus: { type: "DiffusionProbeAttentionFocus", pos: [1510, 60], size: [310, 50] },
    attach: { type: "DiffusionProbeAttachProbe", pos: [1510, 180], size: [310, 100], values: { moments: "20%" } },
    first: {
      type: "KSamplerAdvanced",
      pos: [0, 720],
      size: [340, 360],
      title: "KSampler (Advanced): step 0 to 4, all seeds",
      values: sampler(20, 1, {
        add_noise: "enable",
        start_at_step: 0,
        end_at_step: 4,
        return_with_leftover_noise: "enable",
      }),
    },
    score: { type: "DiffusionProbeScore", pos: [400, 720], size: [420, 660] },
    filter: {
      type: "DiffusionProbeEarlySeedFilter",
      pos: [880, 720],
      size: [340, 360],
      values: { top_k: 2, threshold_on: "off", threshold: 0.5, unskilled_scores: "keep all" },
    },
    second: {
      type: "KSamplerAdvanced",
      pos: [1300, 720],
      size: [340, 360],
      title: "KSampler (Advanced): step 4 to 20, kept seeds",
      values: sampler(20, 1, {
        add_noise: "disable",
        start_at_step: 4,
        end_at_step: 10000,
        return_with_leftover_noise: "disable",
      }),
    },
    decode: { type: "VAEDecode", pos: [1300, 1150], size: [340, 60] },
    save: { type: "SaveImage", pos: [1700, 720], size: [420, 660], values: { filename_prefix: "diffusion_probe/kept" } },
  },
  links: [
    ["clip", "CLIP", "positive", "clip"],
    ["positive", "CONDITIONING", "guidance", "conditioning"],
    ["positive", "CONDITIONING", "negative", "conditioning"],
    ["model", "MODEL", "seeds", "model"],
    ["seeds", "model", "attach", "model"],
    ["focus", "probe", "attach", "probe"],
    ["seeds", "count", "latent", "batch_size"],
    ["attach", "model", "first", "model"],
    ["guidance", "CONDITIONING", "first", "positive"],
    ["negative", "CONDITIONING", "first", "negative"],
    ["latent", "LATENT", "first", "latent_image"],
    ["first", "LATENT", "score", "latent"],
    ["attach", "model", "score", "model"],
    ["first", "LATENT", "filter", "latent"],
    ["score", "scores", "filter", "scores"],
    ["model", "MODEL", "second", "model"],
    ["guidance", "CONDITIONING", "second", "positive"],
    ["negative", "CONDITIONING", "second", "negative"],
    ["filter", "kept", "second", "latent_image"],
    ["second", "LATENT", "decode", "samples"],
    ["vae", "VAE", "decode", "vae"],
    ["decode", "IMAGE", "save", "images"],
  ],
  groups: GROUPS,
};
