// State of one board, and how events and clicks change it. Pure: a new state, or the same if nothing changed.
import { emptyOf } from "./events.js";
import { BOARD, MOST_ROWS, ROW } from "./schema.js";
import { nameOf } from "./seeds.js";

/** Fields of a board before its first event: nothing runs, and nothing warns of a score without skill. */
const NEW_BOARD = { ...emptyOf(BOARD), state: "done", skilled: true, scale: "batch" };
const NEW_ROW = emptyOf(ROW);
const NO_ROWS = { ...NEW_BOARD, rows: new Map() };

/**
 * State without a board. Besides the fields of a board:
 * - rows: by their number; each has `from`, the run that sent it and its number there, if that is known;
 * - report: the node's report, empty before the end;
 * - number, address: number of the last event; address for answers, null when the run is over;
 * - own, base: the rows and fields that the last run sent, and the state before it if it adds to that;
 * - images: finished images by row number, each with `url` and `name`;
 * - age: `time` of the last run in milliseconds since 1970 (null: unknown), whether the node has `other` settings by
 *   now, and whether a run after it `failed`; null while a run goes on, and where nothing is known;
 * - canSend: whether the actions "next" and "finish" can start a run;
 * - around: the seed that the next run varies, empty for none;
 * - sort, word, size: what the user chose to see; the size of tiles in pixels, null: as the board's room allows.
 */
export const EMPTY = {
  ...NO_ROWS,
  report: "",
  number: 0,
  address: null,
  own: NO_ROWS,
  base: null,
  images: new Map(),
  age: null,
  canSend: { next: false, finish: false },
  around: "",
  sort: "rank",
  word: null,
  size: null,
};

/** Returns the state of a run that is over, with the node's report; `from` is its run and node, null if unknown. */
export function ended(state, board, report, from = null) {
  const base = baseOf(state, board, from);
  const own = withRows(NO_ROWS, board, from);
  const all = base?.report ? `${base.report}\n\n${report}` : report;
  return { ...shown(state, base, own), report: all, number: 0, address: null };
}

/** Returns the state after an event of the server; null if an event was missed, so that the whole board is needed. */
export function received(state, { address, number, full, board }) {
  const same = isOf(state, address);
  if (full) {
    const base = baseOf(state, board, address);
    return { ...shown(state, base, withRows(NO_ROWS, board, address)), report: "", number, address };
  }
  if (same && number <= state.number) return state; // an event that was received already
  if (!same || number !== state.number + 1) return null;
  return { ...shown(state, state.base, withRows(state.own, board, address)), number, address };
}

/** Returns the state of a run that ended without a result. */
export const stopped = (state) => ({ ...state, state: "stopped", address: null });

const isOf = (state, address) => state.address?.prompt === address.prompt && state.address.node === address.node;

/** Returns the state that a run's board adds to: the one before the run; null if it adds to none. */
function baseOf(state, board, address) {
  if (!board.adds) return null;
  if (address && (isOf(state, address) || promptOf(state.own) === address.prompt)) return state.base;
  return state.rows.size ? state : null;
}

/** Returns the id of the run that sent rows, undefined if it is unknown. */
const promptOf = ({ rows }) => rows.values().next().value?.from?.prompt;

/** Returns the fields and rows of a run after those of a board that were sent. */
function withRows(own, { rows, ...fields }, from) {
  const all = new Map(own.rows);
  for (const row of rows) {
    const before = all.get(row.row) ?? { ...NEW_ROW, ...(from ? { from: { prompt: from.prompt, node: from.node, row: row.row } } : {}) };
    all.set(row.row, { ...before, ...row });
  }
  return { ...own, ...fields, rows: all };
}

/** Returns the state that shows a run, together with the board that it adds to. */
function shown(state, base, own) {
  const board = base ? joined(base, own) : own;
  const word = board.words.includes(state.word) ? state.word : null;
  const same = promptOf(own) !== undefined && promptOf(own) === promptOf(state.own);
  const images = same ? state.images : (base ?? EMPTY).images;
  return { ...state, ...board, own, base, word, images };
}

/** Returns the fields and rows of a board with those of a run that finished some of its candidates. */
function joined(base, own) {
  const rows = new Map(base.rows);
  const numbers = new Map([...rows.values()].map((row) => [nameOf(row), row.row]));
  for (const row of own.rows.values()) {
    const number = numbers.get(nameOf(row)) ?? Math.max(-1, ...rows.keys()) + 1;
    const before = rows.get(number);
    if (number < MOST_ROWS) rows.set(number, before ? finishedRow(before, row) : { ...row, row: number, heats: {} });
  }
  const fields = Object.fromEntries(Object.keys(BOARD).map((name) => [name, base[name]]));
  const { state, seconds, left } = own;
  const elapsed = base.elapsed + own.elapsed;
  return { ...fields, state, seconds, left, elapsed, adds: false, reason: own.reason || base.reason, rows };
}

/** Returns a row after a run that finished it; score, rank and mark stay as they were among its first companions. */
const finishedRow = (before, { kept, at, gone, note, finished, picture, from }) => ({
  ...before, kept: kept ?? before.kept, at: at ?? before.at, gone, note, finished,
  ...(picture ? { picture, from } : {}),
});

/** Returns a board's fields and rows as values that can be kept and read again. */
export function valuesOf(state) {
  const pick = (value, schema) => Object.fromEntries(Object.keys(schema).map((name) => [name, value[name]]));
  return { ...pick(state, BOARD), adds: false, rows: [...state.rows.values()].map((row) => pick(row, ROW)) };
}

/** Returns whether a state shows everything of a board already. */
export const covers = (state, board) => {
  const rows = new Map([...state.rows.values()].map((row) => [nameOf(row), row]));
  return board.rows.length > 0 && board.rows.every((each) => {
    const row = rows.get(nameOf(each));
    return row && row.at === (each.at ?? null) && (row.picture === (each.picture ?? null) || row.finished);
  });
};

/**
 * Returns the rows of the last run that survived, in the order of the images that it returns: of a search, pinned ones
 * first and then by rank; of a filter, and of a run that finished candidates by their names, as they are.
 */
export function survivors({ own }) {
  const kept = [...own.rows.values()].filter((row) => row.kept || (own.adds && row.finished));
  if (own.kind !== "search" || own.adds) return kept.sort((a, b) => a.row - b.row);
  const pinned = (row) => Number(row.mark === "pinned");
  return kept.sort((a, b) => pinned(b) - pinned(a) || compare(a.rank ?? Infinity, b.rank ?? Infinity) || a.row - b.row);
}

/** Returns whether a user's marks count now. */
export const takesMarks = ({ address, state, base }) => address !== null && !base && (state === "running" || state === "held");

/** Returns whether candidates can be picked to be finished by another run. */
export const canPick = (state) => state.kind === "search" && state.address === null && state.rows.size > 0;

/** Returns whether a row takes a mark now. */
export const canMark = (state, row) => (takesMarks(state) ? !row.gone : canPick(state) && !row.finished);

/** Returns the rows that are pinned. */
export const picks = ({ rows }) => [...rows.values()].filter(({ mark }) => mark === "pinned");

/** Returns the state after a row is marked; `mark` is null for none. */
export function marked(state, number, mark) {
  const row = state.rows.get(number);
  if (!row || row.mark === mark) return state;
  const change = (rows) => (rows.has(number) ? new Map(rows).set(number, { ...rows.get(number), mark }) : rows);
  const rows = change(state.rows);
  return { ...state, rows, own: state.base ? state.own : { ...state.own, rows } };
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
