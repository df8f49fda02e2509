// What seed selection and the prompt gate begin with: the first steps of some seeds, and their score.
import { conditioned, prompted, run, seedBatch, upperGroups } from "./parts.mjs";

const part = (family, pos, title, half) => ({
  type: "KSamplerAdvanced",
  pos,
  size: [340, 360],
  title: `KSampler (Advanced): ${title}`,
  values: { noise_seed: 0, control_after_generate: "fixed", ...run(family), ...half },
});

/** Nodes and links up to the score: model, prompt, seeds, probe, the first steps. */
export function untilScore(family, count) {
  const { model, cut, moments, words } = family;
  const { positive, ...prompt } = prompted(family);
  return {
    positive,
    nodes: {
      ...family.nodes,
      ...prompt.nodes,
      seeds: seedBatch([1140, 60], count),
      attach: { type: "DiffusionProbeAttachProbe", pos: [1510, 410], size: [310, 100], values: { moments } },
      first: part(family, [0, 840], `step 0 to ${cut}, all seeds`, {
        add_noise: "enable",
        start_at_step: 0,
        end_at_step: cut,
        return_with_leftover_noise: "enable",
      }),
      score: { type: "DiffusionProbeScore", pos: [400, 840], size: [420, 660] },
    },
    links: [
      ...family.links,
      ...prompt.links,
      [...model, "seeds", "model"],
      ["seeds", "model", "attach", "model"],
      ["probe", "probe", "attach", "probe"],
      ["seeds", "count", "latent", "batch_size"],
      ["attach", "model", "first", "model"],
      ...conditioned("first", positive),
      ["first", "LATENT", "score", "latent"],
      ["attach", "model", "score", "model"],
    ],
    groups: upperGroups("Seeds, and what looks at them", words ? 1110 : 740),
  };
}

/** Steps from the cut to the end, without new noise. */
export const finish = (family, pos, rows) =>
  part(family, pos, `step ${family.cut} to ${family.steps}, ${rows}`, {
    add_noise: "disable",
    start_at_step: family.cut,
    end_at_step: 10000,
    return_with_leftover_noise: "disable",
  });

/** Says what happens to scores without measured skill, where the family's are such. */
export const unskilledNote = ({ unskilled }, happens) =>
  unskilled
    ? "*Attention Focus* needs no training, but its score has no measured skill on this model: until you set *unskilled " +
      `scores* to *use anyway*, or connect a better probe to **Attach Probe**, ${happens}\n\n`
    : "";
