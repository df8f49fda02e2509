import { DECODE, PREVIEWED, TEXT_MODEL, columns, decoded, kSampler, note, prepared, run } from "./parts.mjs";

const THRESHOLD = 19; // the upper quartile of a prompt's mean PickScore at 20 %, in recorded runs of SDXL
const COUNT = 4;

const READ_ME =
  "## The prompt is rewritten until its seeds score high\n\n" +
  `1. Press **Run**. **Prompt Loop** samples ${COUNT} seeds of the prompt for 20 % of the steps. PickScore scores them ` +
  "by the prompt as you wrote it.\n" +
  `2. While their mean is below the *threshold*, **Generate Text** rewrites the prompt, at most three times, and the same ` +
  "seeds are sampled again.\n" +
  "3. KSampler finishes the best seed of the best wording. The report in Prompt Loop lists all.\n\n" +
  `A wording costs less than one image. In recorded runs three prompts in four stayed below ${THRESHOLD}.`;

/** A prompt that a text model rewrites while a few of its seeds score low; the best wording and seed are finished. */
export function promptLoop(family, id) {
  const { nodes, links } = prepared(family);
  const { positive: _, ...loaders } = nodes;
  const rewriting = {
    ...PREVIEWED.nodes,
    request: { type: "DiffusionProbePromptToRewrite", size: [0, 330] },
    rewrite: { type: "TextGenerate", size: [0, 330], title: "Rewrite: Generate Text", values: { max_length: 256 } },
  };
  const loop = {
    type: "DiffusionProbePromptLoop",
    size: [0, 900],
    values: {
      prompt: family.prompt,
      rewrite: "",
      threshold: THRESHOLD,
      seed: 1,
      control_after_generate: "randomize",
      candidates: COUNT,
      ...run(family),
    },
  };
  const finished = {
    sampler: kSampler(family, "KSampler: the best seed, all steps"),
    decode: DECODE,
    save: { type: "SaveImage", size: [0, 330], values: { filename_prefix: "diffusion_probe/loop" } },
  };
  const about = note(READ_ME, 480, { ...loaders, ...PREVIEWED.nodes, text_model: TEXT_MODEL });
  return {
    id,
    nodes: columns([290, { ...loaders, text_model: TEXT_MODEL }], [340, rewriting], [430, { loop }], [310, finished], [330, { about }]),
    links: [
      ...links.filter(([, , to]) => to !== "positive"),
      ...PREVIEWED.links,
      [...family.model, "loop", "model"],
      [...family.clip, "loop", "clip"],
      ["probe", "probe", "loop", "probe"],
      ["negative", "CONDITIONING", "loop", "negative"],
      ["latent", "LATENT", "loop", "latent_image"],
      ["text_model", "CLIP", "rewrite", "clip"],
      ["request", "request", "rewrite", "prompt"],
      ["rewrite", "generated_text", "loop", "rewrite"],
      [...family.model, "sampler", "model"],
      ["loop", "positive", "sampler", "positive"],
      ["negative", "CONDITIONING", "sampler", "negative"],
      ["latent", "LATENT", "sampler", "latent_image"],
      ["loop", "best_seed", "sampler", "seed"],
      ...decoded(family, ["sampler", "LATENT"]),
      ["decode", "IMAGE", "save", "images"],
    ],
  };
}
