// The files of the real models in the templates: where each belongs, its size in GB, and where it is from.
const HUB = "https://huggingface.co";
const WEIGHTS = "resolve/main";
const FLUX_TEXT = `${HUB}/comfyanonymous/flux_text_encoders/${WEIGHTS}`;
const QWEN_IMAGE = `${HUB}/Comfy-Org/Qwen-Image_ComfyUI/${WEIGHTS}/split_files`;
const Z_IMAGE = `${HUB}/Comfy-Org/z_image_turbo/${WEIGHTS}/split_files`;
const [MODELS, CHECKPOINTS, TEXT, VAE, REWARDS] = ["diffusion_models", "checkpoints", "text_encoders", "vae", "reward_models"];

/** Folder below `models`, address and size of each file by its name, as its loader has it. */
const FILES = {
  "flux1-dev.safetensors": [MODELS, `${HUB}/Comfy-Org/flux1-dev/${WEIGHTS}/flux1-dev.safetensors`, 23.8],
  "flux1-dev-fp8.safetensors": [CHECKPOINTS, `${HUB}/Comfy-Org/flux1-dev/${WEIGHTS}/flux1-dev-fp8.safetensors`, 17.2],
  "clip_l.safetensors": [TEXT, `${FLUX_TEXT}/clip_l.safetensors`, 0.2],
  "t5xxl_fp16.safetensors": [TEXT, `${FLUX_TEXT}/t5xxl_fp16.safetensors`, 9.8],
  "ae.safetensors": [VAE, `${Z_IMAGE}/vae/ae.safetensors`, 0.3],
  "sd_xl_base_1.0.safetensors": [
    CHECKPOINTS,
    `${HUB}/stabilityai/stable-diffusion-xl-base-1.0/${WEIGHTS}/sd_xl_base_1.0.safetensors`,
    6.9,
  ],
  "qwen_image_fp8_e4m3fn.safetensors": [MODELS, `${QWEN_IMAGE}/diffusion_models/qwen_image_fp8_e4m3fn.safetensors`, 20.4],
  "qwen_2.5_vl_7b_fp8_scaled.safetensors": [TEXT, `${QWEN_IMAGE}/text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors`, 9.4],
  "qwen_image_vae.safetensors": [VAE, `${QWEN_IMAGE}/vae/qwen_image_vae.safetensors`, 0.3],
  "z_image_turbo_bf16.safetensors": [MODELS, `${Z_IMAGE}/diffusion_models/z_image_turbo_bf16.safetensors`, 12.3],
  "qwen_3_4b.safetensors": [TEXT, `${Z_IMAGE}/text_encoders/qwen_3_4b.safetensors`, 8.0],
  "qwen3.5_4b_bf16.safetensors": [TEXT, `${HUB}/Comfy-Org/Qwen3.5/${WEIGHTS}/text_encoders/qwen3.5_4b_bf16.safetensors`, 9.3],
  "PickScore/model.safetensors": [REWARDS, `${HUB}/yuvalkirstain/PickScore_v1/${WEIGHTS}/model.safetensors`, 3.9],
};

/** The files that the values of a node name, as ComfyUI's dialog of missing models reads them from its properties. */
export const modelsOf = ({ values = {} }) =>
  Object.values(values)
    .filter((value) => value in FILES)
    .map((name) => ({ name, url: FILES[name][1], directory: FILES[name][0] }));

/** A paragraph of the note on the files that a graph needs; empty if it needs none. */
export function filesNote(nodes) {
  const named = Object.values(nodes).flatMap(modelsOf);
  if (!named.length) return "";
  const lines = named.map(({ name, directory }) => `- ${FILES[name][2]} GB \`${directory}/${name}\``);
  return (
    "\n\n**Files** in *models*; ComfyUI lists those that are missing, with links. Others of yours will do: choose them " +
    `in the loaders.\n${lines.join("\n")}`
  );
}
