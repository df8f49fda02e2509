// What differs between the models of the shipped workflows: files, settings, and the run itself.
import { NO_NEGATIVE, checkpoint, flux, negativePrompt, shifted, testbed } from "./family_kinds.mjs";

const fewSteps = (name, steps) =>
  `${name} needs ${steps} steps: *auto* looks at the second, which is as early as one can tell anything. `;

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
  "flux-dev": flux("flux1-dev", "", { moments: "20%", steps: 20, cut: 4, guidance: 3.5 }),
  "flux-schnell": flux("flux1-schnell", fewSteps("FLUX.1-schnell", 4), { moments: "auto", steps: 4, cut: 2 }),
  sdxl: checkpoint("sd_xl_base_1.0.safetensors", "", {
    dataset: "sdxl",
    empty: "EmptyLatentImage",
    avoid: "blurry, watermark",
    steps: 25,
    cut: 5,
    cfg: 7,
    scheduler: "normal",
  }),
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
      side: 1328,
      negative: negativePrompt({ text: "" }, 300),
      from: ["clip", "CLIP", "negative", "clip"],
    },
  ),
  "z-image": shifted(
    "z_image_turbo_bf16.safetensors",
    ["qwen_3_4b.safetensors", "lumina2"],
    "ae.safetensors",
    3,
    fewSteps("Z-Image Turbo", 8),
    {
      moments: "auto",
      steps: 8,
      cut: 2,
      cfg: 1,
      side: 1024,
      negative: NO_NEGATIVE,
      from: ["positive", "CONDITIONING", "negative", "conditioning"],
    },
  ),
  sd35: checkpoint("sd3.5_large_fp8_scaled.safetensors", " It has to hold the text encoders too.", {
    empty: "EmptySD3LatentImage",
    avoid: "",
    steps: 20,
    cut: 4,
    cfg: 4,
    scheduler: "sgm_uniform",
  }),
};
