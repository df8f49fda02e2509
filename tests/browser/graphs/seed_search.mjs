import {
  CACHE,
  REWARD_FILES,
  REWARD_MODEL,
  conditioned,
  decode,
  decoded,
  note,
  prompted,
  run,
  save,
  upperGroups,
} from "./parts.mjs";

/** Every real model is searched by a reward model's view of the preview. */
const rewarded = ({ vae }) => ({
  nodes: {
    judge: REWARD_MODEL,
    probe: { type: "DiffusionProbePreviewReward", pos: [1510, 200], size: [310, 160] },
  },
  links: [
    ["prompt", "STRING", "probe", "prompt"],
    [...vae, "probe", "vae"],
    ["judge", "reward", "probe", "reward"],
  ],
});

const readMe = ({ unskilled, about }, cached) =>
  "## Sixteen seeds, one image, the cost of four\n\n" +
  "**Seed Search** takes the place of KSampler. It starts many seeds together, lets the probe look at them " +
  "on the way, drops the bad ones and finishes the best. " +
  (cached
    ? "**TC-Padé Cache** shortens what is left of these: candidates are computed step by step as long as " +
      "they may still be dropped, and predicted in part from their last look on.\n\n"
    : "The image is exactly what KSampler gives for its seed.\n\n") +
  "1. Press **Run**.\n2. The node shows each candidate as it was last looked at, best first, and " +
  "what became of it.\n3. *budget* is what the search may cost, in images.\n\n" +
  "Connect the same probe to *judge* to let it order the finished images too.\n\n" +
  (unskilled ? REWARD_FILES : "") +
  about;

/** Many seeds in one sampler, which finishes the best; with a cache it predicts part of their last steps. */
export function seedSearch(family, id, { cached = false } = {}) {
  const { model } = family;
  const { positive, ...prompt } = prompted(family);
  const reward = family.unskilled ? rewarded(family) : { nodes: {}, links: [] };
  return {
    id,
    nodes: {
      about: note(readMe(family, cached)),
      ...family.nodes,
      ...reward.nodes,
      ...(cached ? { cache: CACHE } : {}),
      ...prompt.nodes,
      search: {
        type: "DiffusionProbeSeedSearch",
        pos: [400, 840],
        size: [420, 1100],
        values: {
          seed: 1,
          control_after_generate: "fixed",
          candidates: 16,
          survivors: 1,
          budget: 4,
          policy: "sequential",
          ...run(family),
          denoise: 1,
        },
      },
      decode: decode([880, 840]),
      save: save([880, 960], [420, 500], "search"),
    },
    links: [
      ...family.links,
      ...reward.links,
      ...prompt.links,
      ...(cached ? [[...model, "cache", "model"]] : []),
      [...(cached ? ["cache", "model"] : model), "search", "model"],
      ["probe", "probe", "search", "probe"],
      ...conditioned("search", positive),
      ...decoded(family, ["search", "latent"]),
      ["decode", "IMAGE", "save", "images"],
      ["search", "kept_scores", "save", "scores"],
    ],
    groups: [
      ...upperGroups(`${cached ? "Cache, and what" : "What"} looks at the candidates`, family.words ? 1110 : 740),
      { title: "3. Search", bounds: [370, 760, 960, 1210] },
    ],
  };
}
