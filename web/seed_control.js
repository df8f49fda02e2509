// What "control after generate" does with the seed of Seed Search and Seed Batch: increment and decrement move it by the
// number of seeds, so that no seed comes twice, and randomize draws from all seeds that a number field holds exactly.
import { controlNumber, extend, titleOf, warn } from "./board/host.js";
import { BOARD_OUTPUT } from "./board/schema.js";
import { text } from "./board/texts.js";

const NODES = {
  DiffusionProbeSeedSearch: { seed: "seed", count: "candidates" },
  DiffusionProbeSeedBatch: { seed: "first_seed", count: "count" },
};
const LARGEST = Number.MAX_SAFE_INTEGER;

/** Number of seeds in the last run of each node that reported them. */
const ran = new WeakMap();

extend("DiffusionProbe.SeedControl", new Set(Object.keys(NODES)), {
  created(node) {
    const { seed, count } = NODES[node.comfyClass];
    const say = (name, value) => warn(titleOf(node), text(name, { name: seed, seed: value, largest: LARGEST }));
    controlNumber(node, seed, {
      next(mode, value, read) {
        if (String(read("seeds") ?? "").trim()) return undefined; // the list takes the position of the seed
        const known = read(count) ?? ran.get(node) ?? node.widgets.find(({ name }) => name === count)?.value;
        const next = nextSeed(mode, value, Number.isInteger(known) && known > 0 ? known : 1);
        if (next?.wrapped) say("seedGoesOn", next.seed);
        return next?.seed;
      },
      check(value) {
        if (value > LARGEST) say("seedRounded", value);
      },
    });
  },
  executed(node, output) {
    if (output?.[BOARD_OUTPUT]?.[0]?.adds) return; // a run that finished a few candidates of the one before
    const rows = output?.diffusion_probe?.[0]?.rows;
    if (Array.isArray(rows) && rows.length) ran.set(node, new Set(rows.map(({ seed }) => seed)).size);
  },
});

/**
 * Returns the seed that follows one by a mode of the control, where a run has `count` seeds, and whether it goes on at the
 * other end of the numbers; undefined if the seed stays.
 */
function nextSeed(mode, seed, count) {
  if (mode === "randomize") return { seed: randomSeed() };
  if (mode === "increment") return seed <= LARGEST - count ? { seed: seed + count } : { seed: 0, wrapped: true };
  if (mode !== "decrement") return undefined;
  const inside = seed >= count && seed <= LARGEST;
  return inside ? { seed: seed - count } : { seed: LARGEST - count + 1, wrapped: true };
}

/** Draws a whole number of 53 bits. */
function randomSeed() {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return (high >>> 11) * 2 ** 32 + low;
}
