// State of one board, and how events and clicks change it. Pure: a new state, or the same if nothing changed.
import { emptyOf } from "./events.js";
import { BOARD, ROW } from "./schema.js";

/** Fields of a board before its first event: nothing runs, and nothing warns of a score without skill. */
const NEW_BOARD = { ...emptyOf(BOARD), state: "done", skilled: true, scale: "batch" };
const NEW_ROW = emptyOf(ROW);

/** State without a board. `rows` are by their number; `address` is that of answers, null when a run is over. */
export const EMPTY = { ...NEW_BOARD, rows: new Map(), report: "", number: 0, address: null, sort: "score", word: null };

/** Returns the state of a run that is over, with the node's report. */
export function ended(state, board, report) {
  return { ...withBoard(cleared(state), board), report, number: 0, address: null };
}

/** Returns the state after an event of the server; null if an event was missed, so that the whole board is needed. */
export function received(state, { address, number, full, board }) {
  const same = state.address?.prompt === address.prompt && state.address.node === address.node;
  if (full) return { ...withBoard(cleared(state), board), report: "", number, address };
  if (same && number <= state.number) return state; // an event that was received already
  if (!same || number !== state.number + 1) return null;
  return { ...withBoard(state, board), number, address };
}

const cleared = (state) => ({ ...state, ...NEW_BOARD, rows: new Map() });

/** Returns the state with those fields of a board, and of its rows, that were sent. */
function withBoard(state, { rows, ...fields }) {
  const merged = new Map(state.rows);
  for (const row of rows) merged.set(row.row, { ...(merged.get(row.row) ?? NEW_ROW), ...row });
  const words = fields.words ?? state.words;
  return { ...state, ...fields, rows: merged, word: words.includes(state.word) ? state.word : null };
}

/** Returns whether a user's marks count now. */
export const takesMarks = (state) => state.address !== null && (state.state === "running" || state.state === "held");

/** Returns the state after a row is marked; `mark` is null for none. */
export function marked(state, number, mark) {
  const row = state.rows.get(number);
  if (!row || row.mark === mark) return state;
  return { ...state, rows: new Map(state.rows).set(number, { ...row, mark }) };
}

/** Returns the numbers of the rows in the order in which they are shown. */
export function order({ rows, sort }) {
  const all = [...rows.values()];
  const bySeed = (a, b) => compare(seedNumber(a), seedNumber(b)) || a.row - b.row;
  const byScore = (a, b) => (a.rank ?? Infinity) - (b.rank ?? Infinity) || a.row - b.row;
  return all.sort(sort === "seed" ? bySeed : byScore).map(({ row }) => row);
}

// Seeds have 64 bits, and may be followed by " row 3".
const seedNumber = ({ seed }) => BigInt(/^\d+/.exec(seed)?.[0] ?? 0);
const compare = (a, b) => (a < b ? -1 : Number(a > b));
