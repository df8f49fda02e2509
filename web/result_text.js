// Text of a node's output, shown inside the node for the nodes below. ComfyUI 1.47 shows that of its own nodes only.
import { make } from "./board/dom.js";
import { addElement, extend, sentences, texts } from "./board/host.js";
import { setTexts, translated } from "./board/texts.js";

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
const ready = Promise.all([texts(), sentences()]).then((all) => setTexts(...all), () => {});

extend("DiffusionProbe.ResultText", NODES, {
  created(node) {
    const element = make("div", "dp-text", { role: "status", tabindex: 0 });
    shown.set(node, element);
    addElement(node, WIDGET, element, 90, { getValue: () => element.textContent });
  },
  executed(node, output) {
    if (!Array.isArray(output.text)) return;
    shown.get(node).textContent = output.text.join("\n");
    ready.then(() => (shown.get(node).textContent = translated(output.text.join("\n"))));
  },
});
