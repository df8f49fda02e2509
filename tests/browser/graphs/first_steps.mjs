// What the early filter and the prompt gate begin with: the first steps of some seeds, and their score.
import { PREVIEWED, conditioned, prepared, run, seedBatch } from "./parts.mjs";

const part = (family, title, half) => ({
  type: "KSamplerAdvanced",
  size: [0, 340],
  title: `KSampler (Advanced): ${title}`,
  values: { noise_seed: 0, control_after_generate: "fixed", ...run(family), ...half },
});

/** Two columns of nodes, and links, up to the score. */
export function untilScore(family, count, scoreHeight) {
  const { positive, nodes, links } = prepared(family);
  return {
    positive,
    model: nodes,
    looking: {
      seeds: seedBatch(count),
      ...PREVIEWED.nodes,
      attach: { type: "DiffusionProbeAttachProbe", size: [0, 90], values: { moments: "20%" } },
      first: part(family, `step 0 to ${family.cut}, all seeds`, {
        add_noise: "enable",
        start_at_step: 0,
        end_at_step: family.cut,
        return_with_leftover_noise: "enable",
      }),
    },
    score: { type: "DiffusionProbeScore", size: [0, scoreHeight] },
    links: [
      ...links,
      ...PREVIEWED.links,
      [...family.model, "seeds", "model"],
      ["seeds", "model", "attach", "model"],
      ["probe", "probe", "attach", "probe"],
      ["seeds", "count", "latent", "batch_size"],
      ["attach", "model", "first", "model"],
      ...conditioned("first", positive),
      ["first", "LATENT", "score", "latent"],
      ["attach", "model", "score", "model"],
    ],
  };
}

/** Steps from the cut to the end, without new noise. */
export const finish = (family, rows) =>
  part(family, `step ${family.cut} to ${family.steps}, ${rows}`, {
    add_noise: "disable",
    start_at_step: family.cut,
    end_at_step: 10000,
    return_with_leftover_noise: "disable",
  });
