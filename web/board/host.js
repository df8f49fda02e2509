// Adapter to ComfyUI's frontend: with the files in `host`, all that calls into it, so that a test can replace it.
import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { nodeAt } from "./host/nodes.js";
import { setting } from "./host/server.js";

export * from "./host/canvas.js";
export * from "./host/inputs.js";
export * from "./host/nodes.js";
export * from "./host/server.js";

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

/** Adds a style sheet of the pack, whose path is relative to this file, to the page. */
export function addStyle(name) {
  const style = document.createElement("link");
  style.rel = "stylesheet";
  style.href = new URL(name, import.meta.url).href;
  document.head.append(style);
}

/** Shows a message of ComfyUI's own for some seconds. */
export function warn(title, detail) {
  app.extensionManager?.toast?.add({ severity: "warn", summary: title, detail, life: 12_000 });
}

/** Returns the pack's texts in the user's language, from `locales/…/main.json`. */
export async function texts() {
  const { english, own } = await localeFiles();
  return { ...english?.diffusionProbe, ...own?.diffusionProbe };
}

/** Returns the labels of options in the user's language by the option; none in English. */
export const optionTexts = async () => (await localeFiles()).own?.diffusionProbeOptions ?? {};

/** Returns the server's sentences in the user's language by the English ones; none in English. */
export const sentences = async () => (await localeFiles()).own?.diffusionProbeSentences ?? {};

let allLocales;

/** Returns the pack's texts in English and in the user's language; the page asks the server once. */
async function localeFiles() {
  allLocales ??= api.fetchApi("/i18n").then((response) => response.json());
  const all = await allLocales;
  return { english: all.en, own: all[setting("Comfy.Locale") ?? "en"] };
}

/** Shows the options of a node's lists by their labels, in both renderers. */
export function labelOptions(node, labels) {
  for (const { type, options } of node.widgets ?? []) {
    const labelled = type === "combo" && Array.isArray(options?.values) && options.values.some((value) => value in labels);
    if (labelled) options.getOptionLabel = (value) => labels[value] ?? value ?? "";
  }
}
