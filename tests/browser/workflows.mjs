// The shipped workflows: the name of each file, which is its title in ComfyUI, and its graph.
import { FAMILIES } from "./families.mjs";
import { choosing } from "./graphs/choosing.mjs";
import { training } from "./graphs/datasets.mjs";
import { promptGate } from "./graphs/prompt_gate.mjs";
import { promptLoop } from "./graphs/prompt_loop.mjs";
import { recording } from "./graphs/recording.mjs";
import { seedSearch } from "./graphs/seed_search.mjs";
import { seedSelection } from "./graphs/seed_selection.mjs";
import { stepCache } from "./graphs/step_cache.mjs";

const { testbed, flux, fluxFp8, sdxl, qwenImage, zImage } = FAMILIES;

export const WORKFLOWS = {
  "Choose from 16 seeds (no downloads)": choosing(testbed, "0c5e7d1a-4b38-4f26-9a70-d1e8b6c2f301"),
  "Choose from 16 seeds (FLUX.1-dev)": choosing(flux, "1d6f8e2b-5c49-4037-8b81-e2f9c7d3a402"),
  "Choose from 16 seeds (FLUX.1-dev fp8)": choosing(fluxFp8, "51a3c26f-908d-447b-afc5-263d0b17e806"),
  "Choose from 16 seeds (SDXL)": choosing(sdxl, "2e709f3c-6d5a-4148-9c92-f30ad8e4b503"),
  "Choose from 16 seeds (Qwen-Image)": choosing(qwenImage, "3f81a04d-7e6b-4259-8da3-041be9f5c604"),
  "Choose from 16 seeds (Z-Image)": choosing(zImage, "4092b15e-8f7c-436a-9eb4-152cfa06d705"),
  "Let a reward pick from 16 seeds (FLUX.1-dev)": seedSearch(flux, "62b4d370-a19e-458c-b0d6-374e1c28f907"),
  "Let a reward pick from 16 seeds (SDXL)": seedSearch(sdxl, "73c5e481-b2af-469d-81e7-485f2d39fa08"),
  "Filter 8 seeds early, finish 2 (FLUX.1-dev)": seedSelection(flux, "84d6f592-c3b0-47ae-92f8-596a3e4afb09"),
  "Filter 8 seeds early, finish 2 (SDXL)": seedSelection(sdxl, "95e7a6a3-d4c1-48bf-a3a9-6a7b4f5bac0a"),
  "Rewrite the prompt if its seeds score low (FLUX.1-dev)": promptGate(flux, "a6f8b7b4-e5d2-49c0-b4ba-7b8c506cbd0b"),
  "Rewrite the prompt if its seeds score low (SDXL)": promptGate(sdxl, "b7a9c8c5-f6e3-4ad1-85cb-8c9d617dce0c"),
  "Improve the prompt until its seeds score high (SDXL)": promptLoop(sdxl, "fbeedf09-dac7-4eb5-a0cf-c0dba5b1fc10"),
  "Make images faster with a cache (FLUX.1-dev)": stepCache(flux, "c8bad9d6-a7f4-4be2-96dc-9dae728edf0d"),
  "Record training data for a probe (FLUX.1-dev)": recording(flux, "d9cbeae7-b8a5-4cf3-a7ed-aebf839fea0e"),
  "Train and measure a probe (no downloads)": training("eadcfbf8-c9b6-4da4-b8fe-bfca94a0fb0f"),
};
