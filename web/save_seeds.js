// %date:yyyy-MM-dd% and %Node name.widget% in the file name prefix of Save Seed Images, which ComfyUI
// 1.47 fills in for its own save nodes only.
import { app } from "../../scripts/app.js";

app.registerExtension({
  name: "DiffusionProbe.SaveSeeds",
  nodeCreated(node) {
    if (node.comfyClass !== "DiffusionProbeSaveSeeds") return;
    const fill = window.comfyAPI?.utils?.applyTextReplacements;
    const prefix = node.widgets?.find(({ name }) => name === "filename_prefix");
    if (fill && prefix) prefix.serializeValue = () => fill(app.rootGraph, prefix.value);
  },
});
