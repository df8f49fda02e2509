import { conditioned, decode, decoded, guided, note, run, save, textEncode } from "./parts.mjs";

const WIDTH = 320;
const GAP = 46; // between nodes that stand below each other, the title bar included

/** Nodes below each other, from `top` on, all of one width; returns them with their positions. */
function column(x, top, nodes) {
  let y = top;
  return Object.fromEntries(
    Object.entries(nodes).map(([name, node]) => {
      const placed = [name, { ...node, pos: [x, y], size: [WIDTH, node.size[1]] }];
      y += node.size[1] + GAP;
      return placed;
    }),
  );
}

const TESTBED =
  "The model is a FLUX of a few megabytes that paints shapes. For a real one open the template of your model.";

const readMe = ({ about, recorded, prompt }) =>
  "## See sixteen seeds, finish the ones you like\n\n" +
  "1. Press **Run**. Every seed is sampled for a fifth of its steps; the board shows what each is becoming.\n" +
  "2. Click a picture to see it large. ✓ picks it, ✕ takes it out, ▷ finishes it at once.\n" +
  "3. **Finish** samples the picked seeds to the end: exactly what KSampler makes of them.\n\n" +
  "Then: pick others and *Finish picked*, *Next seeds* for sixteen new ones, or vary one you like in its menu.\n\n" +
  (recorded === prompt ? about : TESTBED);

/** Many seeds, of which the user finishes some: no probe, no file beside the model's own. */
export function choosing(family, id) {
  const { positive: _, ...loaders } = family.nodes;
  const { judge: _judge, probe: _probe, latent, negative, ...models } = loaders;
  const encoded = ["positive", "CONDITIONING"];
  const guidance = guided(family, encoded, "guidance", { pos: [0, 0], size: [WIDTH, 60] });
  const kept = new Set(["positive", "search", "decode", "save", ...Object.keys(loaders)].filter((name) => !/^(judge|probe)$/.test(name)));
  return {
    id,
    nodes: {
      ...column(0, 0, {
        ...models,
        positive: { ...textEncode("Positive", { size: [WIDTH, 130] }), values: { text: family.prompt } },
        ...guidance.nodes,
        negative,
        latent,
      }),
      search: {
        type: "DiffusionProbeSeedSearch",
        pos: [WIDTH + 60, 0],
        size: [920, 1290],
        values: {
          seed: 1,
          control_after_generate: "randomize",
          candidates: 16,
          survivors: 1,
          ...run(family),
          denoise: 1,
        },
      },
      decode: decode([WIDTH + 1040, 0], 420),
      save: save([WIDTH + 1040, 110], [420, 560], "chosen"),
      about: { ...note(readMe(family)), pos: [WIDTH + 1040, 720], size: [420, 420] },
    },
    links: [
      ...family.links.filter(([from, , to]) => kept.has(from) && kept.has(to)),
      [...family.clip, "positive", "clip"],
      ...guidance.links,
      [...family.model, "search", "model"],
      ...conditioned("search", guidance.conditioning),
      ...decoded(family, ["search", "latent"]),
      ["decode", "IMAGE", "save", "images"],
      ["search", "kept_scores", "save", "scores"],
    ],
    groups: [],
  };
}
