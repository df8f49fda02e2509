// Seeds as texts: they have 64 bits, and JavaScript's numbers hold 53 exactly.
const LARGEST = 2n ** 64n - 1n;
const LARGEST_EXACT = BigInt(Number.MAX_SAFE_INTEGER);

/** Returns whether a text is one seed: neither a row of a batch nor a variation. */
export const isPlain = (name) => /^\d{1,20}$/.test(name) && BigInt(name) <= LARGEST;

/** Returns a seed as a number that a widget can hold; null if it is no single seed, or too large to be held exactly. */
export const asNumber = (name) => (isPlain(name) && BigInt(name) <= LARGEST_EXACT ? Number(name) : null);

/** Returns `count` seeds in order from `first` on, as texts; after the largest comes 0. */
export function seedsFrom(first, count) {
  const start = BigInt(first);
  return Array.from({ length: count }, (_, index) => String((start + BigInt(index)) % (LARGEST + 1n)));
}

/** Returns the name of a candidate: its seed and, unless it is the first one, the number of its prompt. */
export const nameOf = ({ seed, prompt }) => (prompt > 1 ? `${seed} prompt ${prompt}` : seed);
