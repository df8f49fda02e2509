// Train Probe and Evaluate Probe with their reports; neither needs a model.
import { note } from "./parts.mjs";

function onDataset(id, about, nodes, links) {
  const report = { type: "PreviewImage", pos: [900, 60], size: [520, 640], title: "Report" };
  return {
    id,
    nodes: { about: note(about), ...nodes, report },
    links: [...links, ["last", "report", "report", "images"]],
    groups: [],
  };
}

export const training = (id) =>
  onDataset(
    id,
    "## Train a probe of your own\n\n" +
      "1. Record a dataset with a *record-…* template: a thousand prompts, eight seeds each, is a good start.\n" +
      "2. Write its name into **dataset** and press **Run**. The loss is shown while it trains. Interrupting keeps the " +
      "best network so far; **Run** goes on.\n" +
      "3. The file lies in *models/diffusion_probes*: choose it in **Load Probe**, or connect *probe* to Attach Probe.\n\n" +
      "The report says whether picking by its score pays: its oracle share has to lie above *best-of-n*.",
    {
      last: {
        type: "DiffusionProbeTrainProbe",
        pos: [400, 60],
        size: [420, 420],
        values: { dataset: "testbed-flux", output_name: "my-probe" },
      },
    },
    [],
  );

export const evaluating = (id) =>
  onDataset(
    id,
    "## What is a probe worth?\n\n" +
      "**Evaluate Probe** measures a trained probe on the recorded prompts that it was not trained on, beside chance, full " +
      "images at equal cost and the truth.\n\n" +
      "Choose a probe, write the name of a dataset of the same model, and press **Run**. To measure on other prompts than " +
      "those that decided when training stopped, record them into a dataset of their own.",
    {
      load: { type: "DiffusionProbeLoadProbe", pos: [400, 60], size: [420, 80], values: { name: "testbed/flux/joint.safetensors" } },
      last: {
        type: "DiffusionProbeEvaluateProbe",
        pos: [400, 220],
        size: [420, 420],
        values: { dataset: "testbed-flux" },
      },
    },
    [["load", "probe", "last", "probe"]],
  );
