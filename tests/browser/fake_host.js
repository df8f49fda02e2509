// Stands in for ComfyUI's frontend (web/board/host.js) and the browser's store: the board runs without either.
import { startBoards } from "./board/boards.js";

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
  keepSecret: (place, secret) => secrets.set(place, secret),
  secretOf: (place) => secrets.get(place),
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
  row: number, seed: String(1000 + number), prompt: null, score: number / 10, place: number, rank: null, kept: null,
  at: "step 2", gone: false, mark: null, note: "", picture: PIXEL, heats: {}, ...more,
});

export const board = (rows, more = {}) => ({
  kind: "search", state: "running", probe: "a probe", label: "quality", skilled: true, scale: "batch", line: null,
  reason: "", words: [], hidden: 0, rows, ...more,
});

export const event_of = (node, number, content, more = {}) => ({
  prompt_id: "run 1", node_id: node, display_node_id: node, workflow_id: "this workflow", number, ask: false,
  full: number === 1, ...(number === 1 ? { secret: `of ${node}` } : {}), ...content, ...more,
});

export const PIXEL =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
