import { finish, unskilledNote, untilScore } from "./first_steps.mjs";
import { conditioned, decode, decoded, guided, kSampler, note, save, textEncode } from "./parts.mjs";

const REWRITES = {
  // Runs without weights.
  regex: {
    says:
      "The rewrite asks for less: **Replace Text (Regex)** takes the third object out of the prompt. With a real " +
      "model a text model rewrites it; see the other prompt-gate templates.",
    text: ["rewrite", "STRING"],
    nodes: {
      rewrite: {
        type: "RegexReplace",
        pos: [1300, 1310],
        size: [340, 250],
        title: "Rewrite: drop the third object",
        values: { regex_pattern: " and (to the|above|below).*", replace: "" },
      },
    },
    links: [["prompt", "STRING", "rewrite", "string"]],
  },
  "text model": {
    says:
      "The rewrite is done by a text model (**Generate Text**). Choose your own in its CLIP loader " +
      "(*models/text_encoders*), and say in *Instruction* what it should do.",
    text: ["rewrite", "generated_text"],
    nodes: {
      instruction: {
        type: "StringConcatenate",
        pos: [880, 1310],
        size: [340, 250],
        title: "Instruction",
        values: {
          string_a:
            "Rewrite the prompt below so that a text-to-image model can follow it more easily. Keep every object, its " +
            "colour, its number and its place, and the style. Name each object with its attributes first, then say " +
            "where they are, then setting and light. At most 60 words. Answer with the prompt only.",
          delimiter: "\n\n",
        },
      },
      text_model: {
        type: "CLIPLoader",
        pos: [880, 1620],
        size: [340, 110],
        title: "Text model",
        values: { clip_name: "qwen3.5_4b_bf16.safetensors", type: "stable_diffusion", device: "default" },
      },
      rewrite: {
        type: "TextGenerate",
        pos: [1300, 1310],
        size: [340, 420],
        title: "Rewrite: Generate Text",
        values: { max_length: 256 },
      },
    },
    links: [
      ["prompt", "STRING", "instruction", "string_b"],
      ["instruction", "STRING", "rewrite", "prompt"],
      ["text_model", "CLIP", "rewrite", "clip"],
    ],
  },
};

/** A few seeds for a few steps; finished when they promise enough, else sampled from a rewritten prompt. */
export function promptGate(family, id) {
  const { cut, steps, threshold, about } = family;
  const { positive, nodes, links, groups } = untilScore(family, 4);
  const rewrite = REWRITES[family.rewrite];
  const guidance = guided(family, ["rewritten", "CONDITIONING"], "rewritten_guidance", {
    pos: [1720, 1480],
    size: [340, 70],
  });
  return {
    id,
    nodes: {
      about: note(
        "## Rewrite the prompt when it does not work\n\n" +
          `4 seeds are sampled for ${cut} of ${steps} steps. If their mean score reaches the *threshold*, **Prompt ` +
          "Gate** has them finished. If not, the same seeds are sampled from a rewritten prompt. What is not taken " +
          `is never run.\n\n${rewrite.says}\n\n` +
          "Scores differ between models and probes: look at those of a few prompts in **Probe Score** before you " +
          `choose a threshold.\n\n${unskilledNote(family, "every prompt passes.")}${about}`,
      ),
      ...nodes,
      ...rewrite.nodes,
      second: finish(family, [880, 840], "all seeds"),
      rewritten: textEncode("Rewritten", { pos: [1720, 1310], size: [340, 100] }),
      ...guidance.nodes,
      again: kSampler(family, [1720, 1620], [340, 320], "KSampler: rewritten prompt, all steps"),
      gate: {
        type: "DiffusionProbePromptGate",
        pos: [1300, 840],
        size: [340, 340],
        values: { rows: "mean of all rows", threshold_on: "raw score", threshold, unskilled_scores: "pass" },
      },
      decode: decode([1720, 840]),
      save: save([2140, 840], [420, 340], "gate"),
    },
    links: [
      ...links,
      ...rewrite.links,
      [...family.model, "second", "model"],
      ...conditioned("second", positive, ["first", "LATENT"]),
      [...family.clip, "rewritten", "clip"],
      [...rewrite.text, "rewritten", "text"],
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
    groups: [
      ...groups,
      { title: "3. A few steps, then decide", bounds: [-30, 760, 880, 770] },
      { title: "4. Passing: the rest", bounds: [860, 760, 400, 460] },
      { title: "5. The gate, and what it takes", bounds: [1270, 760, 1320, 460] },
      { title: "6. Otherwise: the same seeds, a rewritten prompt", bounds: [860, 1230, 1230, 750] },
    ],
  };
}
