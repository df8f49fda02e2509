// Keys of a focused tile and of the large view.
const MARKS = { p: "pin", x: "discard", d: "discard", Delete: "discard", Backspace: "discard", c: "copy", v: "compare" };
const TILE = { ...MARKS, " ": "open", Enter: "go" };
const LARGE = { ...MARKS, " ": "close" };
const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

const actionIn = (actions) => ({ key, ctrlKey, metaKey, altKey }) =>
  ctrlKey || metaKey || altKey ? null : (actions[key.length === 1 ? key.toLowerCase() : key] ?? null);

/** Returns the action of a key on a tile, null if it has none. */
export const tileAction = actionIn(TILE);

/** Returns the action of a key in the large view, null if it has none. */
export const largeAction = actionIn(LARGE);

/** Returns the index to which a key moves from `index` of `count`, in rows of `columns`; null if it is no arrow. */
export function moved(key, index, count, columns) {
  const step = { ...STEPS, ArrowUp: -columns, ArrowDown: columns }[key];
  if (step === undefined) return null;
  const to = index + step;
  if (Math.abs(step) === columns && columns > 1 && (to < 0 || to >= count)) return index;
  return Math.max(0, Math.min(count - 1, to));
}
