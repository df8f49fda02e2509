// Adapter to ComfyUI's frontend: the one file that calls into it, so that a test can replace it.
import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { BOARD_EVENT, BOARD_ROUTE } from "./schema.js";

/**
 * Registers an extension for nodes of some classes. `on` has the handlers:
 * `created(node)`: after a node is made; `loaded(node)`: after its workflow is loaded;
 * `executed(node, output)`: after it ran, or its last output is shown again; `removed(node)`: after it left its graph.
 */
export function extend(name, classes, on) {
  const ours = (node) => classes.has(node?.comfyClass);
  app.registerExtension({
    name,
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
    onNodeOutputsUpdated(outputs) {
      for (const [locator, output] of Object.entries(outputs)) {
        const node = nodeAt(locator);
        if (output && ours(node)) on.executed?.(node, output);
      }
    },
  });
}

/** Shows an element in a node, in both renderers. It is a result: neither queued nor saved with the workflow. */
export function addElement(node, name, element, minHeight, options = {}) {
  const widget = node.addDOMWidget(name, "diffusion_probe", element, {
    serialize: false,
    getMinHeight: () => minHeight,
    ...options,
  });
  widget.serialize = false;
  return widget;
}

/** Hides the pictures that ComfyUI shows in a node (Nodes 2.0), where an element of the pack shows them. */
export function hideImages(node) {
  node.hideOutputImages = true;
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

/** Returns the id of the open workflow. */
export const workflowId = () => app.rootGraph.id;

/** Returns the title of a node. */
export const titleOf = (node) => node.title;

/** Returns a key of a node that is unique among the nodes of all workflows. */
export const keyOf = (node) => [app.rootGraph.id, node.graph?.id, node.id].join("/");

/** Adds a style sheet of the pack, whose path is relative to this file, to the page. */
export function addStyle(name) {
  const style = document.createElement("link");
  style.rel = "stylesheet";
  style.href = new URL(name, import.meta.url).href;
  document.head.append(style);
}

/** Calls `event` with every event about a board, and `reconnected` after the connection was lost. */
export function listen(event, reconnected) {
  api.addCustomEventListener(BOARD_EVENT, ({ detail }) => event(detail));
  api.addEventListener("reconnected", reconnected);
}

/** Sends a user's action on a board; returns the boards that the server sends back, or null if it refuses. */
export async function answer(body) {
  try {
    const response = await api.fetchApi(BOARD_ROUTE, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    return response.ok ? (await response.json()).boards : null;
  } catch {
    return null; // the server went away; ComfyUI says so itself
  }
}

/** Returns the pack's texts in the user's language, from `locales/…/main.json`. */
export async function texts() {
  const all = await (await api.fetchApi("/i18n")).json();
  const language = app.extensionManager?.setting?.get("Comfy.Locale") ?? "en";
  return { ...all.en?.diffusionProbe, ...all[language]?.diffusionProbe };
}
