// Tokens such as %date:yyyy-MM-dd% and %Node name.widget% in the file name prefix of Save Seed Images. ComfyUI 1.47
// fills them in for its own save nodes only.
import { extend, fillTokens } from "./board/host.js";

extend("DiffusionProbe.SaveSeeds", new Set(["DiffusionProbeSaveSeeds"]), {
  created: (node) => fillTokens(node, "filename_prefix"),
});
