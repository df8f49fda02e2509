// State of one board, and how events and clicks change it. Pure: a new state, or the same if nothing changed.
import { emptyOf } from "./events.js";
import { BOARD, ROW } from "./schema.js";

/** Fields of a board before its first event: nothing runs, and nothing warns of a score without skill. */
const NEW_BOARD = { ...emptyOf(BOARD), state: "done", skilled: true, scale: "batch" };
const NEW_ROW = emptyOf(ROW);

/** State without a board. `rows` are by their number; `address` is that of answers, null when a run is over. */
export const EMPTY = {
  ...NEW_BOARD,
  rows: new Map(),
  report: "",
  number: 0,
  address: null,
  sort: "rank",
  word: null,
  size: null, // of tiles in px; null: as the board's room allows
  images: new Map(), // finished images by row: {url, name}
  age: null, // of a board that is shown again: {time, other, failed}
  canSend: { next: false, finish: false },
};

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

/** Returns whether the board is over, so that candidates are picked to be finished after all. */
export const canPick = (state) => state.kind === "search" && state.address === null && state.rows.size > 0;

/** Returns the rows that the user pinned. */
export const picks = (state) => [...state.rows.values()].filter(({ mark }) => mark === "pinned");

/** Returns the state after a row is marked; `mark` is null for none. */
export function marked(state, number, mark) {
  const row = state.rows.get(number);
  if (!row || row.mark === mark) return state;
  return { ...state, rows: new Map(state.rows).set(number, { ...row, mark }) };
}

/** Orders of rows by name; of equals the earlier row comes first. */
const ORDERS = {
  rank: (a, b) => compare(a.rank ?? Infinity, b.rank ?? Infinity),
  score: (a, b) => compare(b.score ?? -Infinity, a.score ?? -Infinity),
  seed: (a, b) => compare(seedNumber(a), seedNumber(b)),
};

/** Returns the numbers of the rows in the order in which they are shown. */
export function order({ rows, sort }) {
  const inOrder = ORDERS[sort] ?? ORDERS.rank;
  return [...rows.values()].sort((a, b) => inOrder(a, b) || a.row - b.row).map(({ row }) => row);
}

// Seeds have 64 bits, and may be followed by " row 3".
const seedNumber = ({ seed }) => BigInt(/^\d+/.exec(seed)?.[0] ?? 0);
const compare = (a, b) => (a < b ? -1 : Number(a > b));
