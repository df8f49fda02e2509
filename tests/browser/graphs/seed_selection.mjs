import { finish, unskilledNote, untilScore } from "./first_steps.mjs";
import { conditioned, decode, decoded, note, save } from "./parts.mjs";

/** Many seeds for a few steps; the best of them to the end. */
export function seedSelection(family, id) {
  const { model, cut, steps, count, keep, about } = family;
  const { positive, nodes, links, groups } = untilScore(family, count);
  return {
    id,
    nodes: {
      about: note(
        "## Sample many seeds, finish the good ones\n\n" +
          `${count} seeds are sampled for ${cut} of ${steps} steps. Then the probe looks at each of them and scores ` +
          `it. The best ${keep} are finished; the other ${count - keep} cost nothing more.\n\n` +
          "1. Press **Run**.\n2. **Probe Score** shows what each seed would become, and its score.\n" +
          "3. **Early Seed Filter** says which went on. Change *top k*, or set a *threshold*, and run again: only " +
          `the second half is sampled anew.\n\n${unskilledNote(family, "all seeds are kept.")}${about}`,
      ),
      ...nodes,
      filter: {
        type: "DiffusionProbeEarlySeedFilter",
        pos: [880, 840],
        size: [340, 660],
        values: { top_k: keep, threshold_on: "off", threshold: 0.5, unskilled_scores: "keep all" },
      },
      second: finish(family, [1300, 840], "kept seeds"),
      decode: decode([1300, 1270]),
      save: save([1700, 840], [420, 660], "kept"),
    },
    links: [
      ...links,
      ["first", "LATENT", "filter", "latent"],
      ["score", "scores", "filter", "scores"],
      [...model, "second", "model"],
      ...conditioned("second", positive, ["filter", "kept"]),
      ...decoded(family, ["second", "LATENT"]),
      ["decode", "IMAGE", "save", "images"],
      ["filter", "kept_scores", "save", "scores"],
    ],
    groups: [
      ...groups,
      { title: "3. A few steps for all seeds, then choose", bounds: [-30, 760, 1280, 770] },
      { title: "4. The rest for the best", bounds: [1270, 760, 880, 770] },
    ],
  };
}
