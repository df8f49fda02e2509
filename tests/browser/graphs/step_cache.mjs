import { DECODE, columns, conditioned, decoded, kSampler, note, prepared } from "./parts.mjs";

const READ_ME =
  "## The same image from fewer model calls\n\n" +
  "**TC-Padé Cache** computes the model on part of the steps, and predicts it on the others from those computed.\n\n" +
  "1. Press **Run**. One seed is sampled with the cache and without; ComfyUI's log says how many evaluations were computed " +
  "and how many predicted.\n" +
  "2. *preset*: *quality* computes about every 2nd step, *balanced* every 3rd, *fast* every 4th.\n" +
  "3. When you like what it does, delete the second sampler.\n\n" +
  "Take a deterministic sampler such as euler, dpmpp_2m or heun.";

/** One seed with part of its steps predicted, beside all of them computed. */
export function stepCache(family, id) {
  const { positive, nodes, links } = prepared(family);
  const cache = { type: "DiffusionProbeTCPadeCache", size: [0, 120], values: { preset: "balanced" } };
  const save = (title, name) => ({
    type: "SaveImage",
    size: [0, 440],
    title,
    values: { filename_prefix: `diffusion_probe/${name}` },
  });
  const about = note(READ_ME, 400, nodes);
  return {
    id,
    nodes: columns(
      [320, nodes],
      [340, { cache, sampler: kSampler(family, "KSampler: with the cache"), whole: kSampler(family, "KSampler: all steps computed") }],
      [540, { decode: DECODE, save: save("Save Image: with the cache", "cached") }],
      [540, { decode_whole: DECODE, save_whole: save("Save Image: all steps computed", "computed"), about }],
    ),
    links: [
      ...links,
      [...family.model, "cache", "model"],
      ["cache", "model", "sampler", "model"],
      ...conditioned("sampler", positive),
      [...family.model, "whole", "model"],
      ...conditioned("whole", positive),
      ...decoded(family, ["sampler", "LATENT"]),
      ["decode", "IMAGE", "save", "images"],
      ...decoded(family, ["whole", "LATENT"], "decode_whole"),
      ["decode_whole", "IMAGE", "save_whole", "images"],
    ],
  };
}
