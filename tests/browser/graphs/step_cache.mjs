import {
  CACHE,
  conditioned,
  decode,
  decoded,
  kSampler,
  note,
  prompted,
  save,
  seedBatch,
  upperGroups,
} from "./parts.mjs";

const LOOKING = ["judge", "probe"]; // of a family; nothing looks at these runs

/** Some seeds, each with part of its steps predicted. */
export function stepCache(family, id) {
  const { positive, ...prompt } = prompted(family);
  return {
    id,
    nodes: {
      about: note(
        "## The same image from fewer model calls\n\n" +
          "**TC-Padé Cache** computes the model on part of the steps and predicts it on the others from those " +
          "computed.\n\n1. Press **Run**. ComfyUI's log says how many evaluations were computed and how many " +
          "predicted.\n2. Bypass the cache (Ctrl+B) and run again to see what it changes on your model.\n" +
          "3. *preset*: *quality* computes about every 2nd step, *balanced* every 3rd, *fast* every 4th.\n\n" +
          "Take a deterministic sampler such as euler, dpmpp_2m or heun.\n\n" +
          family.about,
      ),
      ...Object.fromEntries(Object.entries(family.nodes).filter(([name]) => !LOOKING.includes(name))),
      ...prompt.nodes,
      cache: CACHE,
      seeds: seedBatch([1510, 60], 4),
      sampler: kSampler(family, [400, 840], [420, 320]),
      decode: decode([880, 840]),
      save: save([1280, 840], [420, 500], "cache"),
    },
    links: [
      ...family.links.filter(([from, , to]) => !LOOKING.includes(from) && !LOOKING.includes(to)),
      ...prompt.links,
      [...family.model, "cache", "model"],
      ["cache", "model", "seeds", "model"],
      ["seeds", "count", "latent", "batch_size"],
      ["seeds", "model", "sampler", "model"],
      ...conditioned("sampler", positive),
      ...decoded(family, ["sampler", "LATENT"]),
      ["decode", "IMAGE", "save", "images"],
      ["seeds", "seeds", "save", "seeds"],
    ],
    groups: [...upperGroups("Cache, and the seeds"), { title: "3. Sample", bounds: [370, 760, 1360, 610] }],
  };
}
