// The options of the pack's nodes in the user's language. Their values stay those that workflows hold.
import { extend, labelOptions, optionTexts } from "./board/host.js";

const OURS = { has: (type) => String(type ?? "").startsWith("DiffusionProbe") };
const labels = optionTexts().catch(() => ({}));

extend("DiffusionProbe.OptionLabels", OURS, {
  async created(node) {
    labelOptions(node, await labels);
  },
});
