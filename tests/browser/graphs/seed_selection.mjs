import { finish, untilScore } from "./first_steps.mjs";
import { DECODE, columns, conditioned, decoded, note, save } from "./parts.mjs";

const [COUNT, KEEP] = [8, 2];

const readMe = ({ cut, steps }) =>
  "## Filter seeds early, in a graph of your own\n\n" +
  `1. Press **Run**. ${COUNT} seeds are sampled for ${cut} of ${steps} steps.\n` +
  "2. **Probe Score** shows what each is becoming, with its PickScore.\n" +
  `3. **Early Seed Filter** lets the best ${KEEP} go on to the second sampler; the other ${COUNT - KEEP} cost nothing more.\n\n` +
  "Change *top k* or set a *threshold*, and run again: only the second half is sampled anew.";

/** Many seeds for a few steps; the best of them to the end. */
export function seedSelection(family, id) {
  const { model, looking, score, positive, links } = untilScore(family, COUNT, 420);
  const filter = {
    type: "DiffusionProbeEarlySeedFilter",
    size: [0, 714],
    values: { top_k: KEEP, threshold_on: "off", threshold: 0.5, unskilled_scores: "keep all" },
  };
  const about = note(readMe(family), 300, { ...model, ...looking });
  const rest = { save: save(300, "kept"), second: finish(family, "kept seeds"), about };
  return {
    id,
    nodes: columns([320, model], [320, looking], [540, { score, filter, decode: DECODE }], [420, rest]),
    links: [
      ...links,
      ["first", "LATENT", "filter", "latent"],
      ["score", "scores", "filter", "scores"],
      [...family.model, "second", "model"],
      ...conditioned("second", positive, ["filter", "kept"]),
      ...decoded(family, ["second", "LATENT"]),
      ["decode", "IMAGE", "save", "images"],
      ["filter", "kept_scores", "save", "scores"],
    ],
  };
}
