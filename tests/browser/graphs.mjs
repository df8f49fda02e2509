// The graphs of the shipped workflows: nodes with their values, links by slot name, groups.

const sampler = ({ steps, cfg, scheduler }, half) => ({
  noise_seed: 0,
  control_after_generate: "fixed",
  steps,
  cfg,
  sampler_name: "euler", // continues exactly when a run is cut
  scheduler,
  ...half,
});

const note = (text) => ({ type: "MarkdownNote", pos: [0, 60], size: [340, 460], title: "Read me", values: [text] });

/** Nodes and links up to the score: model, prompt, seeds, probe, the first steps. */
function untilScore(family, count) {
  const { nodes, links, model, clip, cut, moments, prompt, guidance, words } = family;
  const positive = guidance ? ["guidance", "CONDITIONING"] : ["positive", words ? "conditioning" : "CONDITIONING"];
  const encode = words ? { type: "DiffusionProbeEncodeWords" } : { type: "CLIPTextEncode", title: "CLIP Text Encode (Positive)" };
  const guided = {
    guidance: { type: "FluxGuidance", pos: [760, 260], size: [300, 70], values: { guidance } },
  };
  return {
    positive,
    nodes: {
      ...nodes,
      prompt: {
        type: "PrimitiveStringMultiline",
        pos: [400, nodes.vae ? 560 : 260],
        size: [300, 150],
        title: "Prompt",
        values: [prompt],
      },
      positive: { ...encode, pos: [760, 60], size: [300, 130] },
      ...(guidance ? guided : {}),
      seeds: {
        type: "DiffusionProbeSeedBatch",
        pos: [1140, 60],
        size: [310, 280],
        values: { first_seed: 1, control_after_generate: "fixed", count, seeds: "" },
      },
      attach: { type: "DiffusionProbeAttachProbe", pos: [1510, 410], size: [310, 100], values: { moments } },
      first: {
        type: "KSamplerAdvanced",
        pos: [0, 840],
        size: [340, 360],
        title: `KSampler (Advanced): step 0 to ${cut}, all seeds`,
        values: sampler(family, {
          add_noise: "enable",
          start_at_step: 0,
          end_at_step: cut,
          return_with_leftover_noise: "enable",
        }),
      },
      score: { type: "DiffusionProbeScore", pos: [400, 840], size: [420, 660] },
    },
    links: [
      ...links,
      [...clip, "positive", "clip"],
      ["prompt", "STRING", "positive", "text"],
      ...(guidance ? [["positive", "CONDITIONING", "guidance", "conditioning"]] : []),
      [...model, "seeds", "model"],
      ["seeds", "model", "attach", "model"],
      ["probe", "probe", "attach", "probe"],
      ["seeds", "count", "latent", "batch_size"],
      ["attach", "model", "first", "model"],
      [...positive, "first", "positive"],
      ["negative", "CONDITIONING", "first", "negative"],
      ["latent", "LATENT", "first", "latent_image"],
      ["first", "LATENT", "score", "latent"],
      ["attach", "model", "score", "model"],
    ],
    groups: [
      { title: "1. Model and prompt", bounds: [370, -20, 720, 760] },
      { title: "2. Seeds, and what looks at them", bounds: [1110, -20, words ? 1110 : 740, 760] },
    ],
  };
}

/** Steps from the cut to the end, without new noise. */
const finish = (family, pos, rows) => ({
  type: "KSamplerAdvanced",
  pos,
  size: [340, 360],
  title: `KSampler (Advanced): step ${family.cut} to ${family.steps}, ${rows}`,
  values: sampler(family, {
    add_noise: "disable",
    start_at_step: family.cut,
    end_at_step: 10000,
    return_with_leftover_noise: "disable",
  }),
});

const UNSKILLED =
  "*Attention Focus* needs no training, but its score has no measured skill on this model: until you set *unskilled " +
  "scores* to *use anyway*, or connect a better probe to **Attach Probe**, ";

/** Many seeds for a few steps; the best of them to the end. */
export function seedSelection(family, id) {
  const { model, vae, cut, steps, count, keep, unskilled, about } = family;
  const { positive, nodes, links, groups } = untilScore(family, count);
  return {
    id,
    nodes: {
      about: note(
        "## Sample many seeds, finish the good ones\n\n" +
          `${count} seeds are sampled for ${cut} of ${steps} steps. Then the probe looks at each of them and scores ` +
          `it. The best ${keep} are finished; the other ${count - keep} cost nothing more.\n\n` +
          "1. Press **Run**.\n2. **Probe Score** shows what each seed would become, and its score.\n" +
          "3. **Early Seed Filter** says which went on. Change *top k*, or set a *threshold*, and run again: only " +
          `the second half is sampled anew.\n\n${unskilled ? `${UNSKILLED}all seeds are kept.\n\n` : ""}${about}`,
      ),
      ...nodes,
      filter: {
        type: "DiffusionProbeEarlySeedFilter",
        pos: [880, 840],
        size: [340, 660],
        values: { top_k: keep, threshold_on: "off", threshold: 0.5, unskilled_scores: "keep all" },
      },
      second: finish(family, [1300, 840], "kept seeds"),
      decode: { type: "VAEDecode", pos: [1300, 1270], size: [340, 60] },
      save: {
        type: "DiffusionProbeSaveSeeds",
        pos: [1700, 840],
        size: [420, 660],
        values: { filename_prefix: "diffusion_probe/kept" },
      },
    },
    links: [
      ...links,
      ["first", "LATENT", "filter", "latent"],
      ["score", "scores", "filter", "scores"],
      [...model, "second", "model"],
      [...positive, "second", "positive"],
      ["negative", "CONDITIONING", "second", "negative"],
      ["filter", "kept", "second", "latent_image"],
      ["second", "LATENT", "decode", "samples"],
      [...vae, "decode", "vae"],
      ["decode", "IMAGE", "save", "images"],
      ["filter", "kept_scores", "save", "scores"],
    ],
    groups: [
      ...groups,
      { title: "3. A few steps for all seeds, then choose", bounds: [-30, 760, 1280, 770] },
      { title: "4. The rest for the best", bounds: [1270, 760, 880, 770] },
    ],
  };
}

/** Every real model is searched by a reward model's view of the preview. */
const REWARD_MODEL = {
  nodes: {
    judge: { type: "DiffusionProbeLoadRewardModel", pos: [1510, 60], size: [310, 80] },
    probe: { type: "DiffusionProbePreviewReward", pos: [1510, 200], size: [310, 160] },
  },
  links: (vae) => [
    ["prompt", "STRING", "probe", "prompt"],
    [...vae, "probe", "vae"],
    ["judge", "reward", "probe", "reward"],
  ],
};

const CACHE = { type: "DiffusionProbeTCPadeCache", pos: [1140, 60], size: [310, 300], values: { preset: "balanced" } };

/** Some seeds, each with part of its steps predicted. */
export function stepCache(family, id) {
  const { model, vae, clip, prompt, guidance, steps, cfg, scheduler, about } = family;
  const positive = guidance ? ["guidance", "CONDITIONING"] : ["positive", "CONDITIONING"];
  const guided = { guidance: { type: "FluxGuidance", pos: [760, 260], size: [300, 70], values: { guidance } } };
  const looking = ["judge", "probe"];
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
          about,
      ),
      ...Object.fromEntries(Object.entries(family.nodes).filter(([name]) => !looking.includes(name))),
      prompt: {
        type: "PrimitiveStringMultiline",
        pos: [400, family.nodes.vae ? 560 : 260],
        size: [300, 150],
        title: "Prompt",
        values: [prompt],
      },
      positive: { type: "CLIPTextEncode", pos: [760, 60], size: [300, 130], title: "CLIP Text Encode (Positive)" },
      ...(guidance ? guided : {}),
      cache: CACHE,
      seeds: {
        type: "DiffusionProbeSeedBatch",
        pos: [1510, 60],
        size: [310, 280],
        values: { first_seed: 1, control_after_generate: "fixed", count: 4, seeds: "" },
      },
      sampler: {
        type: "KSampler",
        pos: [400, 840],
        size: [420, 320],
        values: {
          seed: 0,
          control_after_generate: "fixed",
          steps,
          cfg,
          sampler_name: "euler",
          scheduler,
          denoise: 1,
        },
      },
      decode: { type: "VAEDecode", pos: [880, 840], size: [340, 60] },
      save: {
        type: "DiffusionProbeSaveSeeds",
        pos: [1280, 840],
        size: [420, 500],
        values: { filename_prefix: "diffusion_probe/cache" },
      },
    },
    links: [
      ...family.links.filter(([from, , to]) => !looking.includes(from) && !looking.includes(to)),
      [...clip, "positive", "clip"],
      ["prompt", "STRING", "positive", "text"],
      ...(guidance ? [["positive", "CONDITIONING", "guidance", "conditioning"]] : []),
      [...model, "cache", "model"],
      ["cache", "model", "seeds", "model"],
      ["seeds", "count", "latent", "batch_size"],
      ["seeds", "model", "sampler", "model"],
      [...positive, "sampler", "positive"],
      ["negative", "CONDITIONING", "sampler", "negative"],
      ["latent", "LATENT", "sampler", "latent_image"],
      ["sampler", "LATENT", "decode", "samples"],
      [...vae, "decode", "vae"],
      ["decode", "IMAGE", "save", "images"],
      ["seeds", "seeds", "save", "seeds"],
    ],
    groups: [
      { title: "1. Model and prompt", bounds: [370, -20, 720, 760] },
      { title: "2. Cache, and the seeds", bounds: [1110, -20, 740, 760] },
      { title: "3. Sample", bounds: [370, 760, 1360, 610] },
    ],
  };
}

/** Many seeds in one sampler, which finishes the best; with a cache it predicts part of their last steps. */
export function seedSearch(family, id, { cached = false } = {}) {
  const { model, vae, clip, prompt, guidance, steps, cfg, scheduler, unskilled, about } = family;
  const positive = guidance ? ["guidance", "CONDITIONING"] : ["positive", "CONDITIONING"];
  const guided = { guidance: { type: "FluxGuidance", pos: [760, 260], size: [300, 70], values: { guidance } } };
  return {
    id,
    nodes: {
      about: note(
        "## Sixteen seeds, one image, the cost of four\n\n" +
          "**Seed Search** takes the place of KSampler. It starts many seeds together, lets the probe look at them " +
          "on the way, drops the bad ones and finishes the best. " +
          (cached
            ? "**TC-Padé Cache** shortens what is left of these: candidates are computed step by step as long as " +
              "they may still be dropped, and predicted in part from their last look on.\n\n"
            : "The image is exactly what KSampler gives for its seed.\n\n") +
          "1. Press **Run**.\n2. The node shows each candidate as it was last looked at, best first, and " +
          "what became of it.\n3. *budget* is what the search may cost, in images.\n\n" +
          "Connect the same probe to *judge* to let it order the finished images too.\n\n" +
          (unskilled ? "The reward model's files go to *models/reward_models*; its help page says where from.\n\n" : "") +
          about,
      ),
      ...family.nodes,
      ...(unskilled ? REWARD_MODEL.nodes : {}),
      ...(cached ? { cache: CACHE } : {}),
      prompt: {
        type: "PrimitiveStringMultiline",
        pos: [400, family.nodes.vae ? 560 : 260],
        size: [300, 150],
        title: "Prompt",
        values: [prompt],
      },
      positive: { type: "CLIPTextEncode", pos: [760, 60], size: [300, 130], title: "CLIP Text Encode (Positive)" },
      ...(guidance ? guided : {}),
      search: {
        type: "DiffusionProbeSeedSearch",
        pos: [400, 840],
        size: [420, 1100],
        values: {
          seed: 1,
          control_after_generate: "fixed",
          candidates: 16,
          survivors: 1,
          budget: 4,
          policy: "sequential",
          steps,
          cfg,
          sampler_name: "euler",
          scheduler,
          denoise: 1,
        },
      },
      decode: { type: "VAEDecode", pos: [880, 840], size: [340, 60] },
      save: {
        type: "DiffusionProbeSaveSeeds",
        pos: [880, 960],
        size: [420, 500],
        values: { filename_prefix: "diffusion_probe/search" },
      },
    },
    links: [
      ...family.links,
      ...(unskilled ? REWARD_MODEL.links(vae) : []),
      [...clip, "positive", "clip"],
      ["prompt", "STRING", "positive", "text"],
      ...(guidance ? [["positive", "CONDITIONING", "guidance", "conditioning"]] : []),
      ...(cached
        ? [
            [...model, "cache", "model"],
            ["cache", "model", "search", "model"],
          ]
        : [[...model, "search", "model"]]),
      ["probe", "probe", "search", "probe"],
      [...positive, "search", "positive"],
      ["negative", "CONDITIONING", "search", "negative"],
      ["latent", "LATENT", "search", "latent_image"],
      ["search", "latent", "decode", "samples"],
      [...vae, "decode", "vae"],
      ["decode", "IMAGE", "save", "images"],
      ["search", "kept_scores", "save", "scores"],
    ],
    groups: [
      { title: "1. Model and prompt", bounds: [370, -20, 720, 760] },
      { title: `2. ${cached ? "Cache, and what" : "What"} looks at the candidates`, bounds: [1110, -20, 740, 760] },
      { title: "3. Search", bounds: [370, 760, 960, 1210] },
    ],
  };
}

const REWRITES = {
  // Runs without weights.
  regex: {
    says:
      "The rewrite asks for less: **Replace Text (Regex)** takes the third object out of the prompt. With a real " +
      "model a text model rewrites it; see the other prompt-gate templates.",
    text: ["rewrite", "STRING"],
    nodes: {
      rewrite: {
        type: "RegexReplace",
        pos: [1300, 1310],
        size: [340, 250],
        title: "Rewrite: drop the third object",
        values: { regex_pattern: " and (to the|above|below).*", replace: "" },
      },
    },
    links: [["prompt", "STRING", "rewrite", "string"]],
  },
  "text model": {
    says:
      "The rewrite is done by a text model (**Generate Text**). Choose your own in its CLIP loader " +
      "(*models/text_encoders*), and say in *Instruction* what it should do.",
    text: ["rewrite", "generated_text"],
    nodes: {
      instruction: {
        type: "StringConcatenate",
        pos: [880, 1310],
        size: [340, 250],
        title: "Instruction",
        values: {
          string_a:
            "Rewrite the prompt below so that a text-to-image model can follow it more easily. Keep every object, its " +
            "colour, its number and its place, and the style. Name each object with its attributes first, then say " +
            "where they are, then setting and light. At most 60 words. Answer with the prompt only.",
          delimiter: "\n\n",
        },
      },
      text_model: {
        type: "CLIPLoader",
        pos: [880, 1620],
        size: [340, 110],
        title: "Text model",
        values: { clip_name: "qwen3.5_4b_bf16.safetensors", type: "stable_diffusion", device: "default" },
      },
      rewrite: {
        type: "TextGenerate",
        pos: [1300, 1310],
        size: [340, 420],
        title: "Rewrite: Generate Text",
        values: { max_length: 256 },
      },
    },
    links: [
      ["prompt", "STRING", "instruction", "string_b"],
      ["instruction", "STRING", "rewrite", "prompt"],
      ["text_model", "CLIP", "rewrite", "clip"],
    ],
  },
};

/** A few seeds for a few steps; finished when they promise enough, else sampled from a rewritten prompt. */
export function promptGate(family, id) {
  const { model, vae, clip, cut, steps, unskilled, about, guidance } = family;
  const { positive, nodes, links, groups } = untilScore(family, 4);
  const rewrite = REWRITES[family.rewrite];
  const rewritten = guidance ? ["rewritten_guidance", "CONDITIONING"] : ["rewritten", "CONDITIONING"];
  return {
    id,
    nodes: {
      about: note(
        "## Rewrite the prompt when it does not work\n\n" +
          `4 seeds are sampled for ${cut} of ${steps} steps. If their mean score reaches the *threshold*, **Prompt ` +
          "Gate** has them finished. If not, the same seeds are sampled from a rewritten prompt. What is not taken " +
          `is never run.\n\n${rewrite.says}\n\n` +
          "Scores differ between models and probes: look at those of a few prompts in **Probe Score** before you " +
          `choose a threshold.\n\n${unskilled ? `${UNSKILLED}every prompt passes.\n\n` : ""}${about}`,
      ),
      ...nodes,
      ...rewrite.nodes,
      second: finish(family, [880, 840], "all seeds"),
      rewritten: { type: "CLIPTextEncode", pos: [1720, 1310], size: [340, 100], title: "CLIP Text Encode (Rewritten)" },
      ...(guidance
        ? { rewritten_guidance: { type: "FluxGuidance", pos: [1720, 1480], size: [340, 70], values: { guidance } } }
        : {}),
      again: {
        type: "KSampler",
        pos: [1720, 1620],
        size: [340, 320],
        title: "KSampler: rewritten prompt, all steps",
        values: {
          seed: 0,
          control_after_generate: "fixed",
          steps,
          cfg: family.cfg,
          sampler_name: "euler",
          scheduler: family.scheduler,
          denoise: 1,
        },
      },
      gate: {
        type: "DiffusionProbePromptGate",
        pos: [1300, 840],
        size: [340, 340],
        values: {
          rows: "mean of all rows",
          threshold_on: "raw score",
          threshold: family.threshold,
          unskilled_scores: "pass",
        },
      },
      decode: { type: "VAEDecode", pos: [1720, 840], size: [340, 60] },
      save: {
        type: "DiffusionProbeSaveSeeds",
        pos: [2140, 840],
        size: [420, 340],
        values: { filename_prefix: "diffusion_probe/gate" },
      },
    },
    links: [
      ...links,
      ...rewrite.links,
      [...model, "second", "model"],
      [...positive, "second", "positive"],
      ["negative", "CONDITIONING", "second", "negative"],
      ["first", "LATENT", "second", "latent_image"],
      [...clip, "rewritten", "clip"],
      [...rewrite.text, "rewritten", "text"],
      ...(guidance ? [["rewritten", "CONDITIONING", "rewritten_guidance", "conditioning"]] : []),
      ["seeds", "model", "again", "model"],
      [...rewritten, "again", "positive"],
      ["negative", "CONDITIONING", "again", "negative"],
      ["latent", "LATENT", "again", "latent_image"],
      ["score", "scores", "gate", "scores"],
      ["second", "LATENT", "gate", "passing"],
      ["again", "LATENT", "gate", "otherwise"],
      ["gate", "taken", "decode", "samples"],
      [...vae, "decode", "vae"],
      ["decode", "IMAGE", "save", "images"],
      ["seeds", "seeds", "save", "seeds"],
    ],
    groups: [
      ...groups,
      { title: "3. A few steps, then decide", bounds: [-30, 760, 880, 770] },
      { title: "4. Passing: the rest", bounds: [860, 760, 400, 460] },
      { title: "5. The gate, and what it takes", bounds: [1270, 760, 1320, 460] },
      { title: "6. Otherwise: the same seeds, a rewritten prompt", bounds: [860, 1230, 1230, 750] },
    ],
  };
}

/** Finished images with what the run showed on its way, into a dataset to train probes on. */
export function recording(family, id) {
  const { model, vae, clip, recorded, guidance, steps, cfg, scheduler, unskilled, about } = family;
  const positive = guidance ? ["guidance", "CONDITIONING"] : ["positive", "conditioning"];
  const guided = { guidance: { type: "FluxGuidance", pos: [760, 260], size: [300, 70], values: { guidance } } };
  const { probe, ...nodes } = family.nodes;
  const withoutProbe = family.links.filter(([, , to]) => to !== "probe");
  return {
    id,
    nodes: {
      about: note(
        "## Record what probes are trained on\n\n" +
          "Four seeds of a prompt are sampled to the end and judged. **Record Probe Data** writes what the model showed " +
          "on its way, and the scores, into *output/probe_data*. A run that is there already costs nothing.\n\n" +
          "1. Press **Run**: the node says what it wrote and how large the dataset is.\n" +
          "2. For thousands of images save this workflow, write your prompts into a file, one a line, and run in the " +
          "pack's folder\n\n`python -m training record WORKFLOW.json --prompts prompts.txt --seeds 8`\n\n" +
          (unskilled ? "The reward model's files go to *models/reward_models*; its help page says where from.\n\n" : "") +
          about,
      ),
      ...nodes,
      ...(unskilled ? { judge: REWARD_MODEL.nodes.judge } : {}),
      prompt: {
        type: "PrimitiveStringMultiline",
        pos: [400, nodes.vae ? 560 : 260],
        size: [300, 150],
        title: "Prompt",
        values: [recorded],
      },
      positive: { type: "DiffusionProbeEncodeWords", pos: [760, 60], size: [300, 130] },
      ...(guidance ? guided : {}),
      seeds: {
        type: "DiffusionProbeSeedBatch",
        pos: [1140, 60],
        size: [310, 280],
        values: { first_seed: 1, control_after_generate: "fixed", count: 4, seeds: "" },
      },
      attach: { type: "DiffusionProbeAttachRecorder", pos: [1510, 410], size: [310, 100] },
      sampler: {
        type: "KSampler",
        pos: [400, 840],
        size: [340, 320],
        values: { seed: 0, control_after_generate: "fixed", steps, cfg, sampler_name: "euler", scheduler, denoise: 1 },
      },
      decode: { type: "VAEDecode", pos: [800, 840], size: [300, 60] },
      record: {
        type: "DiffusionProbeRecord",
        pos: [1160, 840],
        size: [420, 420],
        values: { dataset: family.dataset },
      },
    },
    links: [
      ...withoutProbe.map(([from, slot, ...to]) => [from, from === "positive" ? "conditioning" : slot, ...to]),
      [...clip, "positive", "clip"],
      ["prompt", "STRING", "positive", "text"],
      ...(guidance ? [["positive", "conditioning", "guidance", "conditioning"]] : []),
      [...model, "seeds", "model"],
      ["seeds", "model", "attach", "model"],
      ["seeds", "count", "latent", "batch_size"],
      ["attach", "model", "sampler", "model"],
      [...positive, "sampler", "positive"],
      ["negative", "CONDITIONING", "sampler", "negative"],
      ["latent", "LATENT", "sampler", "latent_image"],
      ["sampler", "LATENT", "decode", "samples"],
      [...vae, "decode", "vae"],
      ["attach", "model", "record", "model"],
      ["sampler", "LATENT", "record", "latent"],
      ["decode", "IMAGE", "record", "images"],
      ["judge", "reward", "record", "reward"],
      ["prompt", "STRING", "record", "prompt"],
    ],
    groups: [
      { title: "1. Model and prompt", bounds: [370, -20, 720, 760] },
      { title: "2. Seeds, what judges, what looks", bounds: [1110, -20, 740, 760] },
      { title: "3. Sample and record", bounds: [370, 760, 1240, 530] },
    ],
  };
}

/** Train Probe or Evaluate Probe with its report; neither needs a model. */
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
