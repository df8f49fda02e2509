// Shows the text that the nodes below send, inside the node. ComfyUI 1.47 does this for its own text nodes only.
import { app } from "../../scripts/app.js";

const NODE_IDS = new Set([
  "DiffusionProbeScoreImages",
  "DiffusionProbePromptGate",
]);
const WIDGET = "diffusion_probe_text";

function addText(node) {
  const element = document.createElement("div");
  element.setAttribute("role", "status");
  element.tabIndex = 0;
  Object.assign(element.style, {
    boxSizing: "border-box",
    padding: "6px 8px",
    overflow: "auto",
    whiteSpace: "pre-wrap",
    overflowWrap: "anywhere",
    userSelect: "text",
    fontSize: "11px",
    lineHeight: "1.45",
    color: "var(--input-text)",
    background: "var(--comfy-input-bg)",
    borderRadius: "4px",
  });
  const widget = node.addDOMWidget(WIDGET, "text_result", element, {
    serialize: false, // a result, not an input: neither queued …
    getMinHeight: () => 90,
    getValue: () => element.textContent,
    setValue: (value) => {
      element.textContent = value ?? "";
    },
  });
  widget.serialize = false; // … nor saved in the workflow
}

function showText(node, output) {
  const widget = node?.widgets?.find(({ name }) => name === WIDGET);
  if (widget && Array.isArray(output?.text)) widget.value = output.text.join("\n");
}

function findNode(locator) {
  const [id, subgraph] = String(locator).split(":").reverse();
  const graph = subgraph ? app.rootGraph.subgraphs?.get(subgraph) : app.rootGraph;
  return graph?.getNodeById(id);
}

app.registerExtension({
  name: "DiffusionProbe.ResultText",
  nodeCreated(node) {
    if (!NODE_IDS.has(node.comfyClass)) return;
    addText(node);
    const before = node.onExecuted;
    node.onExecuted = function (output) {
      before?.call(this, output);
      showText(this, output);
    };
  },
  onNodeOutputsUpdated(outputs) {
    for (const [locator, output] of Object.entries(outputs)) {
      if (output?.diffusion_probe) showText(findNode(locator), output);
    }
  },
});
