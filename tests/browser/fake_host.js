// Replacement of ComfyUI's frontend (web/board/host.js and host/) and of the browser's store, so that the board runs without them.
import { startBoards } from "./board/boards.js";
import { emptyOf } from "./board/events.js";
import { BOARD, ROW } from "./board/schema.js";

export const sent = []; // what boards answered
export const nodes = {};
export const kept = new Map();
export const queued = []; // runs that boards queued
export const visits = []; // boards that the user was brought to
export const settings = {};
/** What the server would say, how late its texts come, the open workflow, those in other tabs, and a prompt by nodes. */
export const open = { boards: [], picture: null, takes: true, delay: 20, workflow: "this workflow", tabs: [], prompt: {}, before: false, seedNodes: [] };
let on, listeners, queueing;

const host = {
  extend: (name, classes, hooks) => (on = hooks),
  addElement: (node, name, element, height) => {
    element.style.height = "100%";
    node.element.append(element);
  },
  hideImages: () => {},
  separate: () => {},
  runningNode: (id) => nodes[id],
  nodesOf: () => Object.values(nodes),
  isHere: (workflow) => !workflow || workflow === open.workflow,
  isOpen: async (workflow) => workflow === open.workflow || open.tabs.includes(workflow),
  keyOf: (node) => node.id,
  idsOf: (node) => [node.id],
  titleOf: (node) => node.title,
  listen: (all) => (listeners = all),
  watchQueue: (watch) => (queueing = watch),
  promptNow: async () => open.prompt,
  queue: async (targets) => {
    const prompt = structuredClone(open.prompt);
    const then = queueing(prompt, open.workflow, targets ?? null);
    queued.push({ prompt, targets, values: structuredClone(nodes["7"]?.values) });
    if (open.refuses) return then.refused(), false;
    then.queued(open.next ?? `run ${queued.length}`, {});
    return true;
  },
  changesSeedsBefore: () => open.before,
  setting: (name) => settings[name],
  outputOfType: () => 0,
  lastOutput: (id) => open.outputs?.[id],
  forgetOutput: (node) => delete open.outputs?.[node.id],
  pastRun: async (prompt) => open.past?.[prompt] ?? null,
  fileUrl: ({ filename, subfolder = "", type = "output" }) => `/view?${new URLSearchParams({ filename, subfolder, type })}`,
  hasFile: async () => open.files ?? true,
  valueOf: (node, name) => (node.linked?.has(name) ? undefined : node.values?.[name]),
  hasInput: (node, name) => name in (node.values ?? {}),
  setValues: (node, values) => {
    if (Object.keys(values).some((name) => node.linked?.has(name))) return false;
    Object.assign(node.values, values);
    return true;
  },
  seedNodes: () => open.seedNodes,
  setSeed: (id, seed) => {
    const target = open.seedNodes.find((each) => each.id === id);
    if (target) target.seed = seed;
    return target?.title ?? null;
  },
  settingsOf: (node, without) => JSON.stringify(Object.entries(node.settings ?? {}).filter(([name]) => !without.has(name))),
  goTo: async (workflow, id) => {
    visits.push([workflow, id]);
    return nodes[id];
  },
  cornerOf: (id) => (nodes[id] && !nodes[id].away ? { x: 300, y: 200 } : null),
  answer: async (body) => {
    sent.push(body);
    return open.takes ? { boards: open.boards, picture: open.picture } : null;
  },
  texts: async () => {
    await new Promise((resolve) => setTimeout(resolve, open.delay));
    return (await (await fetch("./en.json")).json()).diffusionProbe;
  },
  sentences: async () => ({}),
};
export const secrets = new Map();
const store = {
  keep: async (key, output, about) => kept.set(key, { time: 1, output, about }),
  kept: async (key) => kept.get(key),
  forget: async (key) => kept.delete(key),
  keepSecret: (board, secret) => secrets.set(board, secret),
  secretOf: (board) => secrets.get(board),
  knownSecrets: () => [...secrets.values()],
  queuedRuns: () => open.runs ?? [],
  keepRuns: () => {},
  size: () => open.size,
  keepSize: (size) => (open.size = size),
};

const started = startBoards(host, store);
/** Returns the board of a node: of the last one made, if another has the same id. */
export const boardOf = (id) => started.boards.get(nodes[id]);
export const tell = (detail) => listeners.board(detail);
export const drop = () => listeners.reconnected();
export const change = () => listeners.changed();
export const end = (type, detail) => listeners.over({ prompt_id: "run 1", executed: [], ...detail }, type);
export const execute = (node, output, prompt = "run 1") =>
  listeners.executed({ node: node.id ?? node, display_node: node.id ?? node, output, prompt_id: prompt });
export const showAgain = (node, output) => on.shown(node, output);
export const load = (node) => on.loaded(node);
/** Queues the workflow as Run does. */
export const run = () => host.queue();

/** A node with a board, on a page of that width. */
export async function addNode(id, width = 420, height = 500) {
  const element = document.createElement("div");
  element.style.cssText = `width: ${width}px; height: ${height}px; margin: 8px;`;
  document.body.append(element);
  const values = { seed: 5, seeds: "", candidates: 4, around: "", finish: "" };
  nodes[id] = { id, title: `node ${id}`, element, values, linked: new Set() };
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
