// Nodes of the open workflow and its subgraphs: their ids, keys and outputs.
import { app } from "../../../../scripts/app.js";

/** Returns the node of a locator: "7", or "SUBGRAPH:7" inside of a subgraph. */
export function nodeAt(locator) {
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
export function* allNodes(graph = app.rootGraph, path = "") {
  for (const node of graph.nodes) {
    const id = path + node.id;
    yield { node, id };
    if (node.subgraph) yield* allNodes(node.subgraph, `${id}:`);
  }
}

/** Returns a key of a node that is unique among the nodes of all workflows. */
export const keyOf = (node) => [app.rootGraph.id, node.graph?.id, node.id].join("/");

/** Returns the number of a node's output of that type, -1 if it has none. */
export const outputOfType = (node, type) => (node.outputs ?? []).findIndex((output) => output.type === type);

/** Returns the locator of a node, as of `nodeAt`. */
export const locatorOf = (node) => (node.graph === app.rootGraph ? String(node.id) : `${node.graph.id}:${node.id}`);
