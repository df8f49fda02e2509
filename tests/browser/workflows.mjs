// The shipped workflows: the name of each file, and its graph.
import { FAMILIES } from "./families.mjs";
import { withTrainedProbe } from "./family_kinds.mjs";
import { choosing } from "./graphs/choosing.mjs";
import { evaluating, training } from "./graphs/datasets.mjs";
import { promptGate } from "./graphs/prompt_gate.mjs";
import { recording } from "./graphs/recording.mjs";
import { seedSearch } from "./graphs/seed_search.mjs";
import { seedSelection } from "./graphs/seed_selection.mjs";
import { stepCache } from "./graphs/step_cache.mjs";

export const WORKFLOWS = {
  "Choose from 16 seeds (no downloads)": choosing(FAMILIES.testbed, "0c5e7d1a-4b38-4f26-9a70-d1e8b6c2f301"),
  "Choose from 16 seeds (FLUX.1-dev)": choosing(FAMILIES["flux-dev"], "1d6f8e2b-5c49-4037-8b81-e2f9c7d3a402"),
  "Choose from 16 seeds (SDXL)": choosing(FAMILIES.sdxl, "2e709f3c-6d5a-4148-9c92-f30ad8e4b503"),
  "Choose from 16 seeds (Qwen-Image)": choosing(FAMILIES["qwen-image"], "3f81a04d-7e6b-4259-8da3-041be9f5c604"),
  "Choose from 16 seeds (Z-Image)": choosing(FAMILIES["z-image"], "4092b15e-8f7c-436a-9eb4-152cfa06d705"),
  "seed-selection-testbed": seedSelection(withTrainedProbe(FAMILIES.testbed, "flux"), "481b13f7-aaab-45e7-9540-f543a8e18744"),
  "seed-selection-testbed-sdxl": seedSelection(withTrainedProbe(FAMILIES["testbed-sdxl"], "sdxl"), "0d6e5a94-8c3b-4f17-a2d9-1b7c6e5f4a77"),
  "seed-selection-flux-dev": seedSelection(FAMILIES["flux-dev"], "8d5f6c1e-1f0b-4a55-8d0a-6f2f0a3b7c21"),
  "seed-selection-flux-schnell": seedSelection(FAMILIES["flux-schnell"], "4a1f2d0c-7f0e-4f0b-9b55-0c5f6b1f5d11"),
  "seed-selection-sdxl": seedSelection(FAMILIES.sdxl, "b7a2c9e4-53d6-4c0e-8a0b-6f1b7a8e9d22"),
  "seed-selection-qwen-image": seedSelection(FAMILIES["qwen-image"], "3f7b1d52-8e0a-4c69-b4d1-9a6c2e5f8b10"),
  "seed-selection-sd35": seedSelection(FAMILIES.sd35, "e2a95c08-41d7-4b3f-8c60-7d1f3b9a4e21"),
  "seed-selection-z-image": seedSelection(FAMILIES["z-image"], "70c4e8d9-2b6f-4a13-95e7-c8a0d4f61b32"),
  "seed-search-testbed": seedSearch(withTrainedProbe(FAMILIES.testbed, "flux"), "5f0d2c3b-7a41-4e69-8b1d-3c9e6a2f7d01"),
  "seed-search-flux-dev": seedSearch(FAMILIES["flux-dev"], "a8e4b6d2-0c35-4f7a-9e21-6d1b8c5f3a02"),
  "seed-search-cache-testbed": seedSearch(withTrainedProbe(FAMILIES.testbed, "flux"), "7c1e9a54-2b6d-4f38-a0c7-8e5d3b1f6a01", { cached: true }),
  "seed-search-cache-testbed-sdxl": seedSearch(withTrainedProbe(FAMILIES["testbed-sdxl"], "sdxl"), "3e8b5d17-9f02-4c6a-b4d1-0a7c2e9f5b02", {
    cached: true,
  }),
  "seed-search-cache-flux-dev": seedSearch(FAMILIES["flux-dev"], "d2a6c3f8-4e71-4b95-8d0a-5f1b7c9e3a03", {
    cached: true,
  }),
  "seed-search-cache-sdxl": seedSearch(FAMILIES.sdxl, "96f0b7e2-1a3c-4d58-9e6b-c4d8a2f15b04", { cached: true }),
  "step-cache-testbed": stepCache(FAMILIES.testbed, "1b9d4e6f-8c25-4a70-b3f6-2d7e5c0a9b05"),
  "step-cache-testbed-sdxl": stepCache(FAMILIES["testbed-sdxl"], "e5c7a1d3-6b48-4f92-a8e0-9b3d1f6c4a06"),
  "step-cache-flux-dev": stepCache(FAMILIES["flux-dev"], "48f2d9b6-0e7a-4c13-9d5b-7a6c8e1f2b07"),
  "step-cache-sdxl": stepCache(FAMILIES.sdxl, "b3e1f7a9-5d64-4820-8c9f-1e0d7b4a6c08"),
  "record-testbed": recording(FAMILIES.testbed, "d41f8a20-6b7e-4c95-8e13-0a5c7f2b9e01"),
  "record-testbed-sdxl": recording(FAMILIES["testbed-sdxl"], "e52a9b31-7c8f-4da6-9f24-1b6d803cae02"),
  "record-flux-dev": recording(FAMILIES["flux-dev"], "f63bac42-8d90-4eb7-a035-2c7e914dbf03"),
  "record-sdxl": recording(FAMILIES.sdxl, "074cbd53-9ea1-4fc8-b146-3d8fa25ec004"),
  "train-probe": training("18a5c7e2-4d3f-4b60-9a17-6c2e8f0b5d01"),
  "evaluate-probe": evaluating("29b6d8f3-5e40-4c71-8b28-7d3f901c6e02"),
  "prompt-gate-testbed": promptGate(FAMILIES.testbed, "2e9b6f57-1c7d-4e3a-a0f8-5d2c4b6a8e33"),
  "prompt-gate-testbed-sdxl": promptGate(FAMILIES["testbed-sdxl"], "6b2f9c81-3e4d-4a5b-9c7f-2d8e1f0a9b88"),
  "prompt-gate-flux-dev": promptGate(FAMILIES["flux-dev"], "c3d8e1a6-9b4f-4d27-8e5c-7a0f3b2c1d44"),
  "prompt-gate-flux-schnell": promptGate(FAMILIES["flux-schnell"], "f5b0a7d2-6e1c-4b98-9c3d-8e2a1f4b5c55"),
  "prompt-gate-sdxl": promptGate(FAMILIES.sdxl, "91c4e7b8-2d5a-4f6e-b1c0-3a9d8f7e6b66"),
};
