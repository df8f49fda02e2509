// Reader of events and saved boards: keeps the values that follow the schema, and drops everything else.
import { BOARD, EVENT_HEAD, MOST_ROWS, ROW } from "./schema.js";

const isPicture = (value) => typeof value === "string" && /^data:image\/(jpeg|png|webp);/.test(value);
const isObject = (value) => typeof value === "object" && value !== null;

/** For each type of the schema: its empty value, and a reader that returns undefined for a malformed value. */
const TYPES = {
  text: { empty: "", read: (value) => (typeof value === "string" ? value : undefined) },
  flag: { empty: false, read: (value) => (typeof value === "boolean" ? value : undefined) },
  number: { empty: 0, read: (value) => (Number.isFinite(value) ? value : undefined) },
  count: { empty: 0, read: (value) => (Number.isInteger(value) && value >= 0 ? value : undefined) },
  choice: { empty: null, read: (value, { choices }) => (choices.includes(value) ? value : undefined) },
  picture: { empty: null, read: (value) => (isPicture(value) ? value : undefined) },
  texts: {
    empty: [],
    read: (value) => (Array.isArray(value) && value.every((each) => typeof each === "string") ? value : undefined),
  },
  pictures: {
    empty: {},
    read: (value) =>
      isObject(value) ? Object.fromEntries(Object.entries(value).filter(([, each]) => isPicture(each))) : undefined,
  },
};

/** Returns the fields of a schema, each with its empty value. */
export const emptyOf = (schema) =>
  Object.fromEntries(Object.entries(schema).map(([name, field]) => [name, field.nullable ? null : TYPES[field.type].empty]));

/** Returns the well-formed fields of `value`. */
function read(schema, value) {
  const fields = {};
  for (const [name, field] of Object.entries(schema)) {
    const checked = value[name] === null && field.nullable ? null : TYPES[field.type].read(value[name], field);
    if (checked !== undefined) fields[name] = checked;
  }
  return fields;
}

/** Returns the well-formed fields and rows of a board; null if `value` is none. */
export function readBoard(value) {
  if (!isObject(value) || !Array.isArray(value.rows)) return null;
  const rows = value.rows.filter(isObject).map((row) => read(ROW, row));
  return { ...read(BOARD, value), rows: rows.filter((row) => row.row < MOST_ROWS) };
}

/**
 * Returns an event of the server: its address, its board, and whether it asks for an answer; null if malformed.
 * The first event of a board has the secret that answers have to repeat.
 */
export function readEvent(value) {
  if (!isObject(value)) return null;
  const { prompt_id: prompt, node_id: node, display_node_id: display, ...head } = read(EVENT_HEAD, value);
  if (!prompt || !node || !display || head.number === undefined) return null;
  const address = { prompt, node, display, workflow: head.workflow_id ?? "" };
  const [ask, board] = [head.ask ?? false, readBoard(value)];
  const event = { address, ask, board, secret: head.secret ?? undefined, number: head.number, full: head.full ?? false };
  return board || ask ? event : null;
}
