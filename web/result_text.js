// Text of a node's output, shown inside the node for the nodes below. ComfyUI 1.47 shows that of its own nodes only.
import { make } from "./board/dom.js";
import { addElement, extend } from "./board/host.js";

const NODES = new Set([
  "DiffusionProbeEvaluateProbe",
  "DiffusionProbeLoadRewardModel",
  "DiffusionProbePromptGate",
  "DiffusionProbePromptLoop",
  "DiffusionProbeRecord",
  "DiffusionProbeScoreImages",
  "DiffusionProbeTrainProbe",
]);
const WIDGET = "diffusion_probe_text";
const shown = new WeakMap();

extend("DiffusionProbe.ResultText", NODES, {
  created(node) {
    const element = make("div", "dp-text", { role: "status", tabindex: 0 });
    shown.set(node, element);
    addElement(node, WIDGET, element, 90, { getValue: () => element.textContent });
  },
  executed(node, output) {
    if (Array.isArray(output.text)) shown.get(node).textContent = output.text.join("\n");
  },
});
