// Train Probe and Evaluate Probe with their reports, on a dataset that comes with the pack; neither needs a model.
import { columns, note } from "./parts.mjs";

const DATASET = "testbed/flux";

const READ_ME =
  "## Train a probe, and measure one\n\n" +
  "1. Press **Run**. **Train Probe** learns from the tiny dataset that comes with the pack, and shows its loss meanwhile; " +
  "**Evaluate Probe** measures a probe that comes with the pack on the same dataset. It takes a minute or two without a " +
  "GPU.\n" +
  "2. Each report says whether picking by that probe pays: its oracle share has to lie above *best-of-n*. So little data " +
  "teaches little.\n" +
  "3. For your model, record a dataset with the template *Record training data*, a thousand prompts with eight seeds each, " +
  "and write its name into **dataset**.\n\n" +
  "The trained file lies in *models/diffusion_probes*: choose it in **Load Probe**, or connect *probe* to Attach Probe or " +
  "Seed Search. Interrupting keeps the best network so far; **Run** goes on.";

/** A probe trained on the shipped dataset, and a shipped probe measured on it. */
export function training(id) {
  const report = (title) => ({ type: "PreviewImage", size: [0, 700], title });
  return {
    id,
    nodes: columns(
      [420, {
        about: note(READ_ME, 480),
        load: { type: "DiffusionProbeLoadProbe", size: [0, 60], values: { name: "testbed/flux/joint.safetensors" } },
      }],
      [620, {
        train: {
          type: "DiffusionProbeTrainProbe",
          size: [0, 480],
          values: { control_after_generate: "fixed", dataset: DATASET, kind: "attention cnn", output_name: "my-probe", steps: 60 },
        },
        trained: report("Report of Train Probe"),
      }],
      [620, {
        evaluate: { type: "DiffusionProbeEvaluateProbe", size: [0, 480], values: { dataset: DATASET, control_after_generate: "fixed" } },
        evaluated: report("Report of Evaluate Probe"),
      }],
    ),
    links: [
      ["load", "probe", "evaluate", "probe"],
      ["train", "report", "trained", "images"],
      ["evaluate", "report", "evaluated", "images"],
    ],
  };
}
