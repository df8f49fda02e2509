import { DECODE, PREVIEWED, columns, conditioned, decoded, note, prepared, run, save } from "./parts.mjs";

const READ_ME =
  "## Sixteen seeds, one image, the cost of four\n\n" +
  "**Seed Search** takes the position of KSampler. It starts sixteen seeds, **PickScore** scores what each is becoming, " +
  "the weak ones are dropped on the way, and the best is finished: exactly what KSampler makes of that seed.\n\n" +
  "1. Press **Run**. The board shows all candidates, and when each was dropped.\n" +
  "2. *budget* is what the search may cost, in images.\n" +
  "3. With *hold for me* it waits before the last decision for your picks.";

/** Many seeds in one sampler, of which a reward model's view of the previews chooses the best. */
export function seedSearch(family, id) {
  const { positive, nodes, links } = prepared(family);
  const search = {
    type: "DiffusionProbeSeedSearch",
    size: [0, 1290],
    values: {
      seed: 1,
      control_after_generate: "randomize",
      candidates: 16,
      survivors: 1,
      budget: 4,
      policy: "sequential",
      ...run(family),
      denoise: 1,
    },
  };
  const about = note(READ_ME, 300, { ...nodes, ...PREVIEWED.nodes });
  return {
    id,
    nodes: columns([320, nodes], [920, { search }], [420, { decode: DECODE, save: save(300, "search"), ...PREVIEWED.nodes, about }]),
    links: [
      ...links,
      ...PREVIEWED.links,
      [...family.model, "search", "model"],
      ["probe", "probe", "search", "probe"],
      ...conditioned("search", positive),
      ...decoded(family, ["search", "latent"]),
      ["decode", "IMAGE", "save", "images"],
      ["search", "kept_scores", "save", "scores"],
    ],
  };
}
