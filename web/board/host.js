// Adapter to ComfyUI's frontend: the one file that calls into it, so that a test can replace it.
import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { BOARD_EVENT, BOARD_ROUTE } from "./schema.js";

/**
 * Registers an extension for nodes of some classes. `on` has the handlers:
 * `created(node)`: after a node is made; `loaded(node)`: after its workflow is loaded;
 * `executed(node, output)`: after it ran, or an output of an earlier run is shown again;
 * `shown(node, output)`: takes the place of `executed` for outputs of earlier runs;
 * `removed(node)`: after it left its graph. `settings` are added to ComfyUI's; see `setting`.
 */
export function extend(name, classes, on, settings = []) {
  const ours = (node) => classes.has(node?.comfyClass);
  app.registerExtension({
    name,
    settings,
    nodeCreated(node) {
      if (!ours(node)) return;
      on.created?.(node);
      const before = node.onExecuted;
      node.onExecuted = function (output) {
        before?.call(this, output);
        on.executed?.(this, output);
      };
      const last = node.onRemoved;
      node.onRemoved = function () {
        last?.call(this);
        on.removed?.(this);
      };
    },
    loadedGraphNode(node) {
      if (ours(node)) on.loaded?.(node);
    },
    beforeConfigureGraph(graph) {
      on.opening?.(graph);
    },
    onNodeOutputsUpdated(outputs) {
      for (const [locator, output] of Object.entries(outputs)) {
        const node = nodeAt(locator);
        if (output && ours(node)) (on.shown ?? on.executed)?.(node, output);
      }
    },
  });
}

const TEXT_HEIGHT = 80;
const MORE_HEIGHT = 240;

/**
 * Shows an element in a node, in both renderers. It is a result: neither queued nor saved with the workflow. One that
 * `fills` the node has the height that other widgets leave: text fields keep a few lines (in Nodes 2.0 by board.css), a
 * new node is higher than it must be, and the element is shown at any zoom.
 */
export function addElement(node, name, element, minHeight, { fills = false, ...options } = {}) {
  const widget = node.addDOMWidget(name, "diffusion_probe", element, {
    serialize: false,
    getMinHeight: () => minHeight,
    ...(fills ? { hideOnZoom: false } : {}),
    ...options,
  });
  widget.serialize = false;
  if (fills) fill(node);
  return widget;
}

function fill(node) {
  for (const { element, options } of node.widgets) {
    if (element instanceof HTMLTextAreaElement) options.getMaxHeight = () => TEXT_HEIGHT;
  }
  const [width, height] = node.computeSize();
  node.setSize([Math.max(width, 420), height + MORE_HEIGHT]); // a saved node gets its own size after this
}

/**
 * Hides the pictures that ComfyUI shows in a node, where an element of the pack shows them: outputs of its run and
 * previews while it samples. In the classic renderer ComfyUI adds both when it draws a node's background. In Nodes 2.0
 * a property hides the outputs, and page.css the previews.
 */
export function hideImages(node) {
  node.hideOutputImages = true;
  node.onDrawBackground = () => {};
}

/** Fills in ComfyUI's tokens in a value when it is queued, such as %date:yyyy-MM-dd%. */
export function fillTokens(node, name) {
  const fill = window.comfyAPI?.utils?.applyTextReplacements;
  const widget = node.widgets?.find((each) => each.name === name);
  if (fill && widget) widget.serializeValue = () => fill(app.rootGraph, widget.value);
}

/** Returns the node of a locator: "7", or "SUBGRAPH:7" inside of a subgraph. */
function nodeAt(locator) {
  const [id, subgraph] = String(locator).split(":").reverse();
  const graph = subgraph ? app.rootGraph.subgraphs?.get(subgraph) : app.rootGraph;
  return graph?.getNodeById(id);
}

/** Returns the node that runs under an id: "7", or "12:7" for node 7 in the subgraph that node 12 is. */
export function runningNode(id) {
  let graph = app.rootGraph;
  let node;
  for (const part of String(id).split(":")) {
    node = graph?.getNodeById(part);
    graph = node?.subgraph;
  }
  return node;
}

const TEMPLATE = "diffusion_probe_template";

/**
 * Gives a workflow that is opened from a template an id of its own, before it is loaded. All workflows of a template
 * would have the template's id otherwise, and show each other's boards.
 */
export function separate(graph) {
  if (!graph?.extra?.[TEMPLATE]) return;
  delete graph.extra[TEMPLATE];
  graph.id = window.LiteGraph.uuidv4();
}

/** Returns the id of the open workflow. */
const workflowId = () => app.rootGraph.id;

/** Returns whether a workflow is the open one; one without an id counts as such. */
export const isHere = (workflow) => !workflow || workflow === workflowId();

/** Returns the nodes of some classes in the open workflow and its subgraphs. */
export const nodesOf = (classes) => [...new Set([...allNodes()].map(({ node }) => node))].filter((node) => classes.has(node.comfyClass));

/** Returns the title of a node. */
export const titleOf = (node) => node.title;

/** Returns the ids that a node runs under, as in `runningNode`: more than one in a subgraph that is used twice. */
export const idsOf = (node) => [...allNodes()].filter((each) => each.node === node).map(({ id }) => id);

/** Returns every node of the open workflow with the id it runs under, also those in subgraphs. */
function* allNodes(graph = app.rootGraph, path = "") {
  for (const node of graph.nodes) {
    const id = path + node.id;
    yield { node, id };
    if (node.subgraph) yield* allNodes(node.subgraph, `${id}:`);
  }
}

/** Returns a key of a node that is unique among the nodes of all workflows. */
export const keyOf = (node) => [app.rootGraph.id, node.graph?.id, node.id].join("/");

/** Adds a style sheet of the pack, whose path is relative to this file, to the page. */
export function addStyle(name) {
  const style = document.createElement("link");
  style.rel = "stylesheet";
  style.href = new URL(name, import.meta.url).href;
  document.head.append(style);
}

/**
 * Listens to ComfyUI. `on` has the handlers: `board(detail)`: an event about a board; `executed(detail)`: a node ran, or
 * its cached output is used; `over(detail, type)`: a run ended, by "success", "error" or "interrupted";
 * `changed()`: the user changed the workflow; `reconnected()`: the connection was lost for a while.
 */
export function listen(on) {
  api.addCustomEventListener(BOARD_EVENT, ({ detail }) => on.board(detail));
  api.addEventListener("executed", ({ detail }) => on.executed(detail));
  for (const type of ["success", "error", "interrupted"]) {
    api.addEventListener(`execution_${type}`, ({ detail }) => on.over(detail, type));
  }
  api.addEventListener("graphChanged", on.changed);
  api.addEventListener("reconnected", on.reconnected);
}

/**
 * Calls `queueing(prompt, workflow id, targets)` with every prompt before it is sent, which may change it; `targets` are
 * the ids of nodes if only these are to run. It returns what is called afterwards: `queued(prompt id, errors by node)`,
 * or `refused()`.
 */
export function watchQueue(queueing) {
  const queue = api.queuePrompt;
  api.queuePrompt = async function (number, data, options, ...more) {
    let then;
    try {
      then = queueing(data.output, data.workflow?.id ?? "", options?.partialExecutionTargets ?? null);
    } catch (error) {
      console.warn("Diffusion Probe: the boards of this run are not followed.", error);
    }
    try {
      const answer = await queue.call(this, number, data, options, ...more);
      then?.queued(answer.prompt_id, answer.node_errors ?? {});
      return answer;
    } catch (error) {
      then?.refused();
      throw error;
    }
  };
}

/** Returns the prompt that Run would send now: nodes by their ids. */
export const promptNow = async () => (await app.graphToPrompt()).output;

/**
 * Queues the open workflow once. With `targets`, ids of nodes, ComfyUI computes only what these need and does not change
 * seeds that are to change after each run.
 */
export const queue = (targets) => app.queuePrompt(0, 1, targets ?? undefined);

/** Returns whether seeds change before a run is queued, and not after it, as the user has set. */
export const changesSeedsBefore = () => setting("Comfy.WidgetControlMode") === "before";

/** Returns the value of a setting. */
export const setting = (name) => app.extensionManager?.setting?.get(name);

/** Returns the number of a node's output of that type, -1 if it has none. */
export const outputOfType = (node, type) => (node.outputs ?? []).findIndex((output) => output.type === type);

/** Returns the last output of the node that runs under an id, undefined if it has none. */
export function lastOutput(id) {
  const node = runningNode(id);
  return node && app.nodeOutputs[locatorOf(node)];
}

/** Removes a value from a node's last output. */
export function forgetOutput(node, name) {
  delete app.nodeOutputs[locatorOf(node)]?.[name];
}

const locatorOf = (node) => (node.graph === app.rootGraph ? String(node.id) : `${node.graph.id}:${node.id}`);

/** Returns the outputs by node of a run that is over, and whether it was a success; null of a run that is not. */
export async function pastRun(prompt) {
  try {
    const run = (await (await api.fetchApi(`/history/${prompt}`)).json())[prompt];
    return run ? { outputs: run.outputs ?? {}, success: run.status?.status_str === "success" } : null;
  } catch {
    return null; // the server is away
  }
}

/** Returns the address of a file of ComfyUI, with `filename`, `subfolder` and `type`. */
export const fileUrl = ({ filename, subfolder = "", type = "output" }) =>
  api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);

/** Returns whether the server has a file. */
export async function hasFile(file) {
  const path = fileUrl(file).slice(api.apiURL("").length);
  return (await api.fetchApi(path, { method: "HEAD" }).catch(() => null))?.ok ?? false;
}

/** Returns the widget that has the value of a node's input; null if a link decides it. See `deciding`. */
const widgetOf = (node, name) => deciding(idsOf(node)[0], name);

const linkOf = (graph, id) => (id === null || id === undefined ? null : (graph.links?.get?.(id) ?? graph.links?.[id] ?? null));
const fromOutside = (link) => Number(link.origin_id) === -10; // how LiteGraph numbers the inputs of a subgraph

/** Returns the node that a subgraph is, the first if it is used more than once, and one of its inputs by number. */
function outerInput(subgraph, number) {
  for (const { node } of allNodes()) {
    if (node.subgraph === subgraph) return node.inputs[number] ? { node, input: node.inputs[number] } : null;
  }
  return null;
}

/** Returns the value of a node's input, undefined if the page can't know it. */
export const valueOf = (node, name) => deciding(idsOf(node)[0], name, true)?.value;

/** Returns whether a node has an input, by a widget or a link. */
export const hasInput = (node, name) =>
  Boolean(node.widgets?.some((each) => each.name === name) || node.inputs?.some((each) => each.name === name));

/** Sets the values of a node's inputs by name, as one change that the user can undo. Returns false if one is linked. */
export function setValues(node, values) {
  const widgets = Object.keys(values).map((name) => widgetOf(node, name));
  if (widgets.includes(null)) return false;
  Object.values(values).forEach((value, index) => write(widgets[index], value, node));
  captured();
  return true;
}

function write(widget, value, node) {
  widget.value = value;
  widget.callback?.(value, app.canvas, node);
  app.canvas?.setDirty(true, true);
}

const captured = () => app.extensionManager?.workflow?.activeWorkflow?.changeTracker?.captureCanvasState?.();

const SEEDS = new Set(["seed", "noise_seed"]);
const seedWidgets = (node) =>
  (node.widgets ?? []).filter(({ name, value }) => SEEDS.has(name) && typeof value === "number" && widgetOf(node, name));

/** Returns the nodes whose seed can be set, with `id` and `title`, without those of the pack. */
export function seedNodes() {
  const found = new Map();
  for (const { node, id } of allNodes()) {
    const linked = node.inputs?.some((input) => SEEDS.has(input.name) && linkOf(node.graph, input.link));
    if (!linked && !node.comfyClass?.startsWith("DiffusionProbe") && seedWidgets(node).length) found.set(node, id);
  }
  return [...found].map(([node, id]) => ({ id, title: `${node.getTitle?.() ?? node.title} (${id})` }));
}

/** Sets the seed of the node that runs under an id, and keeps it from changing after each run. Returns its title. */
export function setSeed(id, seed) {
  const node = runningNode(id);
  const [widget] = node ? seedWidgets(node) : [];
  if (!widget) return null;
  write(widget, seed, node);
  const control = controlOf(node, widget);
  if (control) write(control, "fixed", node);
  captured();
  return node.getTitle?.() ?? node.title;
}

/** Returns the widget that says how a seed changes after each run; for one shown by a subgraph's node, that inside. */
function controlOf(node, widget) {
  const own = widget.linkedWidgets?.find(({ options }) => options?.values?.includes?.("fixed"));
  if (own || !node.subgraph) return own;
  const number = node.inputs.findIndex((input) => input.name === widget.name || input.widget?.name === widget.name);
  for (const id of node.subgraph.inputs[number]?.linkIds ?? []) {
    const link = linkOf(node.subgraph, id);
    const inner = node.subgraph.getNodeById(link?.target_id);
    const input = inner?.inputs?.[link.target_slot];
    const shown = inner?.widgets?.find(({ name }) => name === input?.widget?.name);
    const control = shown && controlOf(inner, shown);
    if (control) return control;
  }
  return undefined;
}

/**
 * Decides what ComfyUI's control after generate (increment, decrement, randomize) does with a number of a node. When the
 * number is to change, `next(mode, value, read)` returns its new value, undefined to leave it; `read(name)` is the value
 * of another input of the node, undefined if the page can't know it. `check(value)` gets every value that is queued or
 * written by the user. A number that a subgraph's node shows changes there, in each of these nodes.
 */
export function controlNumber(node, name, { next, check }) {
  const widget = node.widgets?.find((each) => each.name === name);
  const control = widget && controlOf(node, widget);
  if (!control) return;
  // The frontend shows a control without these two, and changes nothing by it itself: neither here nor outside.
  control.beforeQueued = undefined;
  control.afterQueued = undefined;
  const isFirst = firstOfTurn();
  const each = (handle) => {
    const holders = new Map(idsOf(node).map((id) => [deciding(id, name), id]));
    holders.delete(null);
    holders.forEach((id, holder) => handle(holder, id));
  };
  const change = () =>
    each((holder, id) => {
      const value = next(control.value, holder.value, (other) => deciding(id, other, true)?.value);
      if (value !== undefined && value !== holder.value) write(holder, value, node);
    });
  let queued = false;
  widget.beforeQueued = ({ isPartialExecution } = {}) => {
    if (!isFirst("before")) return;
    if (queued && changesSeedsBefore() && !isPartialExecution) change();
    queued = true;
    each(({ value }) => check(value));
  };
  widget.afterQueued = ({ isPartialExecution } = {}) => {
    if (!changesSeedsBefore() && !isPartialExecution && isFirst("after")) change();
  };
  const before = widget.callback;
  widget.callback = function (...values) {
    before?.apply(this, values);
    check(widget.value);
  };
}

/** Returns a function that is true for the first call with a name in one turn of the page: ComfyUI calls a node once for
 * each use of its subgraph. */
function firstOfTurn() {
  const names = new Set();
  return (name) => {
    if (names.has(name)) return false;
    names.add(name);
    queueMicrotask(() => names.delete(name));
    return true;
  };
}

/**
 * Returns the widget that decides an input of the node that runs under an id: its own, or that of a subgraph's node around
 * it. If another node decides it: null, or with `through` the widget of that node if it is one with a single value.
 */
function deciding(id, name, through = false) {
  const node = runningNode(id);
  const input = node?.inputs?.find((each) => each.name === name || each.widget?.name === name);
  const link = linkOf(node?.graph, input?.link);
  if (!link) {
    const shown = input && node.subgraph ? node.getWidgetFromSlot?.(input) : null;
    return shown ?? node?.widgets?.find((each) => each.name === name) ?? null;
  }
  const outside = String(id).split(":").slice(0, -1);
  if (fromOutside(link)) {
    const slot = outside.length ? runningNode(outside.join(":"))?.inputs[link.origin_slot] : null;
    return slot ? deciding(outside.join(":"), slot.name, through) : null;
  }
  const origin = through ? node.graph.getNodeById(link.origin_id) : null;
  if (origin?.type === "Reroute") return deciding([...outside, origin.id].join(":"), origin.inputs[0]?.name, true);
  if (origin?.type === "PrimitiveNode") return origin.widgets?.[0] ?? null;
  return origin?.widgets?.find((each) => each.name === "value") ?? null;
}

/** Shows a message of ComfyUI's own for some seconds. */
export function warn(title, detail) {
  app.extensionManager?.toast?.add({ severity: "warn", summary: title, detail, life: 12_000 });
}

/**
 * Returns a text of a node's settings, to compare: its widgets and links, and those of all nodes before it. Left out are
 * the inputs `without`, and every value that ComfyUI changes after a run.
 */
export function settingsOf(node, without) {
  const numbers = new Map();
  const texts = [];
  const visit = (each, left) => {
    if (numbers.has(each)) return numbers.get(each);
    numbers.set(each, numbers.size);
    const controls = new Set((each.widgets ?? []).flatMap((widget) => (widget.linkedWidgets?.length ? [widget, ...widget.linkedWidgets] : [])));
    const widgets = (each.widgets ?? [])
      .filter((widget) => widget.serialize !== false && widget.options?.serialize !== false)
      .filter((widget) => !controls.has(widget) && !left.has(widget.name))
      .map(({ name, value }) => [name, value]);
    const links = (each.inputs ?? []).filter(({ name }) => !left.has(name)).flatMap((input) => {
      const origin = originOf(each.graph, input.link);
      return origin ? [[input.name, visit(origin.node, NONE), origin.slot]] : [];
    });
    const inside = each.subgraph ? each.subgraph.nodes.map((inner) => visit(inner, NONE)) : [];
    texts[numbers.get(each)] = [each.type, each.mode, widgets, links, inside];
    return numbers.get(each);
  };
  visit(node, without);
  return JSON.stringify(texts);
}

const NONE = new Set();

/** Returns the node that a link comes from and the number of its output, also from outside of a subgraph. */
function originOf(graph, id) {
  const link = linkOf(graph, id);
  if (!link) return null;
  if (fromOutside(link)) {
    const outer = outerInput(graph, link.origin_slot);
    return outer ? originOf(outer.node.graph, outer.input.link) : null;
  }
  const node = graph.getNodeById(link.origin_id);
  return node ? { node, slot: link.origin_slot } : null;
}

/** Returns whether a workflow is open in a tab of ComfyUI. */
export const isOpen = async (workflow) => isHere(workflow) || Boolean(await tabOf(workflow));

/** Returns ComfyUI's tab of a workflow by its id. Tabs that a reload left unloaded are loaded to read theirs. */
async function tabOf(workflow) {
  for (const tab of app.extensionManager?.workflow?.openWorkflows ?? []) {
    if (!tab.isLoaded) await tab.load?.().catch(() => {});
    if (tab.activeState?.id === workflow) return tab;
  }
  return null;
}

/**
 * Shows the node that runs under an id, in its workflow and subgraph: that one of its widgets in the middle of the page.
 * Returns the node, null if it is gone.
 */
export async function goTo(workflow, id, name) {
  if (!isHere(workflow)) {
    const tab = await tabOf(workflow);
    if (!tab) return null;
    const state = JSON.parse(JSON.stringify(tab.activeState));
    await app.loadGraphData(state, true, true, tab, { deferWarnings: true, skipAssetScans: true });
  }
  const node = runningNode(id);
  if (!node) return null;
  let graph = app.rootGraph;
  if (app.canvas.graph !== node.graph) {
    app.canvas.setGraph(graph);
    for (const part of String(id).split(":").slice(0, -1)) {
      const outer = graph.getNodeById(part);
      app.canvas.openSubgraph(outer.subgraph, outer);
      graph = outer.subgraph;
    }
    await new Promise(requestAnimationFrame);
  }
  if (node.flags?.collapsed) node.collapse();
  app.canvas.ds.scale = Math.max(app.canvas.ds.scale, READABLE);
  app.canvas.centerOnNode(node);
  await drawn();
  const shown = node.widgets?.find((widget) => widget.name === name)?.element?.getBoundingClientRect();
  const box = app.canvas.canvas.getBoundingClientRect();
  if (shown?.height) {
    const middle = (rect) => rect.top + rect.height / 2;
    app.canvas.ds.offset[1] += (middle(box) - middle(shown)) / app.canvas.ds.scale;
    await drawn();
  }
  return node;
}

/** Draws the canvas, and waits for it and the elements over it. */
async function drawn() {
  app.canvas.setDirty(true, true);
  for (let frames = 0; frames < 3; frames += 1) await new Promise(requestAnimationFrame);
}

const READABLE = 0.8; // scale from which on texts of a node can be read

/**
 * Returns the position in the page of the upper right corner of the node that runs under an id, or of the subgraph that
 * it is in, as far as it is in sight; null if neither is.
 */
export function cornerOf(id) {
  const parts = String(id).split(":");
  for (let length = parts.length; length > 0; length -= 1) {
    const node = runningNode(parts.slice(0, length).join(":"));
    if (!node || node.graph !== app.canvas.graph) continue;
    const { scale, offset } = app.canvas.ds;
    const box = app.canvas.canvas.getBoundingClientRect();
    const title = window.LiteGraph.NODE_TITLE_HEIGHT;
    const [width, height] = node.flags?.collapsed ? [node._collapsed_width ?? 80, 0] : node.size;
    const left = box.left + (node.pos[0] + offset[0]) * scale;
    const top = box.top + (node.pos[1] - title + offset[1]) * scale;
    const [right, bottom] = [left + width * scale, top + (height + title) * scale];
    const sight = document.querySelector(".graph-canvas-panel")?.getBoundingClientRect() ?? box; // between ComfyUI's bars
    const inSight = left < sight.right && right > sight.left && top < sight.bottom && bottom > sight.top;
    return inSight ? { x: Math.min(right, sight.right), y: Math.max(top, sight.top) } : null;
  }
  return null;
}

/** Sends a user's action on a board; returns what the server sends back, or null if it refuses. */
export async function answer(body) {
  try {
    const response = await api.fetchApi(BOARD_ROUTE, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    return response.ok ? await response.json() : null;
  } catch {
    return null; // the server went away; ComfyUI says so itself
  }
}

/** Returns the pack's texts in the user's language, from `locales/…/main.json`. */
export async function texts() {
  const all = await (await api.fetchApi("/i18n")).json();
  const language = setting("Comfy.Locale") ?? "en";
  return { ...all.en?.diffusionProbe, ...all[language]?.diffusionProbe };
}
