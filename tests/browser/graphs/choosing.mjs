import { DECODE, columns, conditioned, decoded, note, prepared, run, save } from "./parts.mjs";

const TESTBED =
  "\n\nThe model is a FLUX of a few megabytes that paints shapes. For a real one open the template of your model, or put " +
  "your loaders in the place of *Load Testbed Model*, and your size into *Empty Latent Image*.";

const readMe = (testbed) =>
  "## See sixteen seeds, finish the ones you like\n\n" +
  "1. Press **Run**. Every seed is sampled for a fifth of its steps; the board shows what each is becoming.\n" +
  "2. Click a picture to see it large. ✓ picks it, ✕ takes it out, ▷ finishes it at once.\n" +
  "3. **Finish** samples the picked seeds to the end: exactly what KSampler makes of them.\n\n" +
  "Then: pick others and *Finish picked*, *Next seeds* for sixteen new ones, or vary one you like in its menu." +
  (testbed ? TESTBED : "");

/** Many seeds, of which the user finishes some: no probe, no file beside the model's own. */
export function choosing(family, id) {
  const { positive, nodes, links } = prepared(family);
  const search = {
    type: "DiffusionProbeSeedSearch",
    size: [0, 1290],
    values: { seed: 1, control_after_generate: "randomize", candidates: 16, survivors: 1, ...run(family), denoise: 1 },
  };
  const about = note(readMe(nodes.model.type.startsWith("DiffusionProbe")), 400, nodes);
  return {
    id,
    nodes: columns([320, nodes], [920, { search }], [420, { decode: DECODE, save: save(440, "chosen"), about }]),
    links: [
      ...links,
      [...family.model, "search", "model"],
      ...conditioned("search", positive),
      ...decoded(family, ["search", "latent"]),
      ["decode", "IMAGE", "save", "images"],
      ["search", "kept_scores", "save", "scores"],
    ],
  };
}
