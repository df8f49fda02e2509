// Canvas and tabs of ComfyUI: where a node is on the page, and the way to it.
import { app } from "../../../../scripts/app.js";
import { isHere, runningNode } from "./nodes.js";

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
