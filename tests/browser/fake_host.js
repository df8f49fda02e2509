// Replacement of ComfyUI's frontend (web/board/host.js) and of the browser's store, so that the board runs without them.
import { startBoards } from "./board/boards.js";
import { emptyOf } from "./board/events.js";
import { BOARD, ROW } from "./board/schema.js";

export const sent = []; // what boards answered
export const nodes = {};
export const kept = new Map();
export const open = { boards: [], takes: true, delay: 20 }; // what the server would say, and how late its texts come
let on, event, reconnected;

const host = {
  extend: (name, classes, hooks) => (on = hooks),
  addElement: (node, name, element, height) => {
    element.style.height = "100%";
    node.element.append(element);
  },
  hideImages: () => {},
  runningNode: (id) => nodes[id],
  workflowId: () => "this workflow",
  keyOf: (node) => node.id,
  titleOf: (node) => node.title,
  listen: (...both) => ([event, reconnected] = both),
  answer: async (body) => {
    sent.push(body);
    return open.takes ? open.boards : null;
  },
  texts: async () => {
    await new Promise((resolve) => setTimeout(resolve, open.delay));
    return (await (await fetch("./en.json")).json()).diffusionProbe;
  },
};
export const secrets = new Map();
const store = {
  keep: async (key, output) => kept.set(key, output),
  kept: async (key) => kept.get(key),
  keepSecret: (board, secret) => secrets.set(board, secret),
  secretOf: (board) => secrets.get(board),
  knownSecrets: () => [...secrets.values()],
};

startBoards(host, store);
export const tell = (detail) => event(detail);
export const drop = () => reconnected();
export const execute = (node, output) => on.executed(node, output);
export const load = (node) => on.loaded(node);

/** A node with a board, on a page of that width. */
export async function addNode(id, width = 420, height = 500) {
  const element = document.createElement("div");
  element.style.cssText = `width: ${width}px; height: ${height}px; margin: 8px;`;
  document.body.append(element);
  nodes[id] = { id, title: `node ${id}`, element };
  on.created(nodes[id]);
  load(nodes[id]);
  return nodes[id];
}

export const row = (number, more = {}) => ({
  ...emptyOf(ROW), row: number, seed: String(1000 + number), score: number / 10, place: number, at: "step 2",
  picture: PIXEL, ...more,
});

export const board = (rows, more = {}) => ({
  ...emptyOf(BOARD), kind: "search", state: "running", probe: "a probe", label: "quality", skilled: true,
  scale: "batch", rows, ...more,
});

export const event_of = (node, number, content, more = {}) => ({
  prompt_id: "run 1", node_id: node, display_node_id: node, workflow_id: "this workflow", number, ask: false,
  full: number === 1, ...(number === 1 ? { secret: `of ${node}` } : {}), ...content, ...more,
});

export const PIXEL =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
