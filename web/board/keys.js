// Keys of a focused tile.
const ACTIONS = { " ": "pin", p: "pin", Delete: "discard", Backspace: "discard", d: "discard", c: "copy", Enter: "go" };
const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

/** Returns the action of a key on a tile, null if it has none. */
export const actionOf = ({ key, ctrlKey, metaKey, altKey }) =>
  ctrlKey || metaKey || altKey ? null : (ACTIONS[key] ?? null);

/** Returns the index to which a key moves from `index` of `count`, in rows of `columns`; null if it is no arrow. */
export function moved(key, index, count, columns) {
  const step = { ...STEPS, ArrowUp: -columns, ArrowDown: columns }[key];
  if (step === undefined) return null;
  const to = index + step;
  if (Math.abs(step) === columns && columns > 1 && (to < 0 || to >= count)) return index;
  return Math.max(0, Math.min(count - 1, to));
}
