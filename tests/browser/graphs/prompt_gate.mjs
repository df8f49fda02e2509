import { finish, untilScore } from "./first_steps.mjs";
import { DECODE, TEXT_MODEL, columns, conditioned, decoded, guided, kSampler, note, save } from "./parts.mjs";

const THRESHOLD = 17.2; // the lower quartile of a prompt's mean PickScore at 20 %, in recorded runs of FLUX and of SDXL
const COUNT = 4;

const INSTRUCTION =
  "Rewrite this prompt so that an image model can follow it. Keep all that it shows. Answer with the prompt only.";

const readMe = ({ cut, steps }) =>
  "## Rewrite the prompt when its seeds score low\n\n" +
  `1. Press **Run**. ${COUNT} seeds are sampled for ${cut} of ${steps} steps, and scored by PickScore.\n` +
  "2. If their mean reaches the *threshold*, **Prompt Gate** has them finished.\n" +
  "3. If not, **Generate Text** rewrites the prompt, and the same seeds are sampled from that. What is not taken is never " +
  "run.\n\n" +
  `In recorded runs a quarter of the prompts stayed below ${THRESHOLD}. What is usual for yours, **Probe Score** shows.`;

/** A few seeds for a few steps; finished when they promise enough, else sampled from a rewritten prompt. */
export function promptGate(family, id) {
  const { model, looking, score, positive, links } = untilScore(family, COUNT, 420);
  const guidance = guided(family, ["rewritten", "CONDITIONING"], "rewritten_guidance");
  const { positive: encode, guidance: guide, negative, latent, ...loaders } = model;
  const rest = { ...(guide ? { guidance: guide } : {}), negative, latent };
  const prompt = { type: "PrimitiveStringMultiline", size: [0, 120], title: "Prompt", values: [family.prompt] };
  const { text: _, ...unwritten } = encode.values;
  const gate = {
    type: "DiffusionProbePromptGate",
    size: [0, 300],
    values: { rows: "mean of all rows", threshold_on: "raw score", threshold: THRESHOLD, unskilled_scores: "pass" },
  };
  const rewriting = {
    instruction: {
      type: "StringConcatenate",
      size: [0, 225],
      title: "Instruction",
      values: { string_a: INSTRUCTION, delimiter: "\n\n" },
    },
    rewrite: { type: "TextGenerate", size: [0, 300], title: "Rewrite: Generate Text", values: { max_length: 256 } },
    rewritten: { type: "CLIPTextEncode", size: [0, 60], title: "CLIP Text Encode (Rewritten)" },
    ...guidance.nodes,
    again: kSampler(family, "KSampler: rewritten prompt, all steps"),
  };
  const about = note(readMe(family), 420, { ...model, ...looking, text_model: TEXT_MODEL });
  const chosen = { decode: DECODE, save: save(380, "gate"), about };
  const written = { prompt, positive: { ...encode, size: [0, 60], values: unwritten } };
  return {
    id,
    nodes: columns([300, { ...loaders, ...written, ...rest, text_model: TEXT_MODEL }], [320, looking], [380, { score, gate, second: finish(family, "all seeds") }], [340, rewriting], [360, chosen]),
    links: [
      ...links,
      ["prompt", "STRING", "positive", "text"],
      [...family.model, "second", "model"],
      ...conditioned("second", positive, ["first", "LATENT"]),
      ["prompt", "STRING", "instruction", "string_b"],
      ["instruction", "STRING", "rewrite", "prompt"],
      ["text_model", "CLIP", "rewrite", "clip"],
      [...family.clip, "rewritten", "clip"],
      ["rewrite", "generated_text", "rewritten", "text"],
      ...guidance.links,
      ["seeds", "model", "again", "model"],
      ...conditioned("again", guidance.conditioning),
      ["score", "scores", "gate", "scores"],
      ["second", "LATENT", "gate", "passing"],
      ["again", "LATENT", "gate", "otherwise"],
      ...decoded(family, ["gate", "taken"]),
      ["decode", "IMAGE", "save", "images"],
      ["seeds", "seeds", "save", "seeds"],
    ],
  };
}
