// What may come in from outside: events and saved boards, field by field. Anything else is left out.
export const MOST_ROWS = 256;

const KINDS = new Set(["score", "filter", "search"]);
const STATES = new Set(["running", "held", "done", "stopped"]);
const SCALES = new Set(["calibration", "batch"]);
const MARKS = new Set(["pinned", "discarded", null]);

const string = (value) => (typeof value === "string" ? value : undefined);
const boolean = (value) => (typeof value === "boolean" ? value : undefined);
const number = (value) => (Number.isFinite(value) ? value : undefined);
const count = (value) => (Number.isInteger(value) && value >= 0 ? value : undefined);
const oneOf = (set) => (value) => (set.has(value) ? value : undefined);
const orNull = (read) => (value) => (value === null ? null : read(value));
const image = (value) => (typeof value === "string" && /^data:image\/(jpeg|png|webp);/.test(value) ? value : undefined);

const BOARD = {
  kind: oneOf(KINDS),
  state: oneOf(STATES),
  probe: string,
  label: string,
  skilled: boolean,
  scale: oneOf(SCALES),
  line: orNull(number),
  reason: string,
  words: (value) => (Array.isArray(value) && value.every((word) => typeof word === "string") ? value : undefined),
  hidden: count,
  seconds: number,
};

const ROW = {
  row: count,
  seed: string,
  prompt: orNull(count),
  score: orNull(number),
  place: orNull(number),
  rank: orNull(count),
  kept: orNull(boolean),
  at: orNull(string),
  gone: boolean,
  mark: oneOf(MARKS),
  note: string,
  picture: orNull(image),
  heats: (value) => {
    if (typeof value !== "object" || value === null) return undefined;
    return Object.fromEntries(Object.entries(value).filter(([, heat]) => image(heat)));
  },
};

function read(fields, value) {
  const found = {};
  for (const [name, check] of Object.entries(fields)) {
    const checked = check(value[name]);
    if (checked !== undefined) found[name] = checked;
  }
  return found;
}

/** Fields and rows of a board, as far as they are well formed; null if it is none. */
export function readBoard(value) {
  if (typeof value !== "object" || value === null || !Array.isArray(value.rows)) return null;
  const rows = value.rows.filter((row) => typeof row === "object" && row !== null).map((row) => read(ROW, row));
  return { ...read(BOARD, value), rows: rows.filter((row) => row.row < MOST_ROWS) };
}

/**
 * An event of the server: where it belongs, what it tells, and whether it asks for an answer; null if malformed.
 * The first one of a board brings the secret that answers have to hold.
 */
export function readEvent(detail) {
  if (typeof detail !== "object" || detail === null) return null;
  const { prompt_id: prompt, node_id: node, display_node_id: display, workflow_id: workflow } = detail;
  if (![prompt, node, display].every((id) => typeof id === "string" && id) || count(detail.number) === undefined) {
    return null;
  }
  const place = { prompt, node, display, workflow: string(workflow) ?? "" };
  const [ask, board] = [detail.ask === true, readBoard(detail)];
  const told = { secret: string(detail.secret), number: detail.number, full: detail.full === true };
  return board || ask ? { place, ask, board, ...told } : null;
}
