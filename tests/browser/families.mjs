// What differs between the models of the shipped workflows: files, settings, and the run itself.
import { FROM_CLIP, FROM_POSITIVE, NO_NEGATIVE, checkpoint, flux, negativePrompt, shifted, testbed } from "./family_kinds.mjs";

const DEV = { steps: 20, cut: 4, guidance: 3.5, dataset: "flux1-dev" };

export const FAMILIES = {
  testbed,
  flux: flux("flux1-dev.safetensors", DEV),
  fluxFp8: checkpoint("flux1-dev-fp8.safetensors", {
    ...DEV,
    empty: "EmptySD3LatentImage",
    negative: NO_NEGATIVE,
    from: FROM_POSITIVE,
    cfg: 1,
    scheduler: "simple",
  }),
  sdxl: checkpoint("sd_xl_base_1.0.safetensors", {
    empty: "EmptyLatentImage",
    negative: negativePrompt({ text: "blurry, watermark" }),
    from: ["model", "CLIP", "negative", "clip"],
    steps: 25,
    cut: 5,
    cfg: 7,
    scheduler: "normal",
  }),
  qwenImage: shifted(
    "qwen_image_fp8_e4m3fn.safetensors",
    ["qwen_2.5_vl_7b_fp8_scaled.safetensors", "qwen_image"],
    "qwen_image_vae.safetensors",
    3.1,
    { steps: 20, cfg: 4, side: 1328, negative: negativePrompt({ text: "" }), from: FROM_CLIP },
  ),
  zImage: shifted("z_image_turbo_bf16.safetensors", ["qwen_3_4b.safetensors", "lumina2"], "ae.safetensors", 3, {
    steps: 8,
    cfg: 1,
    side: 1024,
    negative: NO_NEGATIVE,
    from: FROM_POSITIVE,
  }),
};
