// Values of nodes' inputs: read, set and compared, also where a link or a subgraph decides them.
import { app } from "../../../../scripts/app.js";
import { allNodes, idsOf, runningNode } from "./nodes.js";
import { changesSeedsBefore } from "./server.js";

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
