// The state of one board, and how events and clicks change it. Pure: a new state, or the same when nothing changed.
const BOARD = {
  kind: "",
  state: "done",
  probe: "",
  label: "",
  skilled: true,
  scale: "batch",
  line: null,
  reason: "",
  words: [],
  hidden: 0,
  seconds: 0,
};

const ROW = {
  seed: "",
  prompt: null,
  score: null,
  place: null,
  rank: null,
  kept: null,
  at: null,
  gone: false,
  mark: null,
  note: "",
  picture: null,
  heats: {},
};

/** `rows` by their number; `place` says where answers go, null when nobody takes them. */
export const EMPTY = { ...BOARD, rows: new Map(), report: "", number: 0, place: null, sort: "score", word: null };

/** A board of a run that is over, and what the node says of it. */
export function ended(state, board, report) {
  return { ...withBoard({ ...state, rows: new Map() }, board, BOARD), report, number: 0, place: null };
}

/** What an event of the server tells. Null: something was missed on the way, ask for the whole board. */
export function received(state, { place, number, full, board }) {
  const same = state.place?.prompt === place.prompt && state.place.node === place.node;
  if (full) return { ...withBoard({ ...state, rows: new Map() }, board, BOARD), report: "", number, place };
  if (same && number <= state.number) return state; // told already
  if (!same || number !== state.number + 1) return null;
  return { ...withBoard(state, board, state), number, place };
}

function withBoard(state, { rows, ...fields }, before) {
  const merged = new Map(state.rows);
  for (const row of rows) merged.set(row.row, { ...(merged.get(row.row) ?? ROW), ...row });
  const words = fields.words ?? before.words;
  return {
    ...state,
    ...Object.fromEntries(Object.keys(BOARD).map((name) => [name, fields[name] ?? before[name]])),
    line: fields.line === undefined ? before.line : fields.line,
    rows: merged,
    word: words.includes(state.word) ? state.word : null,
  };
}

/** Whether a user's marks count now. */
export const takesMarks = (state) => state.place !== null && (state.state === "running" || state.state === "held");

export function marked(state, number, mark) {
  const row = state.rows.get(number);
  if (!row || row.mark === mark) return state;
  return { ...state, rows: new Map(state.rows).set(number, { ...row, mark }) };
}

/** The numbers of the rows in the order in which they are shown. */
export function order({ rows, sort }) {
  const all = [...rows.values()];
  const bySeed = (a, b) => compare(seedNumber(a), seedNumber(b)) || a.row - b.row;
  const byScore = (a, b) => (a.rank ?? Infinity) - (b.rank ?? Infinity) || a.row - b.row;
  return all.sort(sort === "seed" ? bySeed : byScore).map(({ row }) => row);
}

// Seeds have 64 bits, and may be followed by " row 3".
const seedNumber = ({ seed }) => BigInt(/^\d+/.exec(seed)?.[0] ?? 0);
const compare = (a, b) => (a < b ? -1 : Number(a > b));
