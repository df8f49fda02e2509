// The testbed in the place of a template's models: what the page sends to the server is changed on its way, so that a
// template as it is shipped runs in seconds. Ids of nodes stay, and the page shows the results in the template's own nodes.
const MODELS = new Set(["UNETLoader", "CheckpointLoaderSimple"]);
const TEXTS = new Set(["CLIPLoader", "DualCLIPLoader"]);
const SHAPES = "a large red circle to the left of a blue square and above a small green triangle";
const EASIER = "a large red circle";

/** The same prompt with the testbed's model, text encoder, VAE and reward, its pictures and its prompts. */
export function onTestbed(prompt) {
  const found = (types) => Object.keys(prompt).filter((id) => types.has(prompt[id].class_type));
  const [model] = found(MODELS);
  if (!model) return prompt;
  const name = found(new Set(["EmptyLatentImage"])).length ? "sdxl" : "flux";
  const texts = new Set(found(TEXTS));
  const vaes = new Set(found(new Set(["VAELoader"])));
  const slot = ([id, output]) => (texts.has(id) ? [model, 1] : vaes.has(id) ? [model, 2] : [id, output]);
  const small = {};
  for (const [id, { class_type, inputs, ...rest }] of Object.entries(prompt)) {
    if (texts.has(id) || vaes.has(id)) continue;
    const linked = Object.fromEntries(Object.entries(inputs).map(([key, value]) => [key, Array.isArray(value) ? slot(value) : value]));
    for (const key of ["width", "height"]) if (key in linked) linked[key] = 128;
    for (const key of ["text", "value"]) if (typeof linked[key] === "string") linked[key] = linked[key].includes("fox") ? SHAPES : "";
    if (linked.prompt?.includes?.("fox")) linked.prompt = SHAPES;
    small[id] = { class_type, inputs: linked, ...rest };
  }
  small[model] = { ...small[model], class_type: "DiffusionProbeLoadTestbedModel", inputs: { name } };
  const swap = (type, other, inputs) => {
    for (const node of Object.values(small)) if (node.class_type === type) Object.assign(node, { class_type: other, inputs });
  };
  swap("DiffusionProbeLoadRewardModel", "DiffusionProbeShapesJudge", {});
  swap("TextGenerate", "PrimitiveStringMultiline", { value: EASIER });
  return small;
}

/** Lets a page run its workflows on the testbed. */
export const runOnTestbed = (page) =>
  page.route("**/api/prompt", async (route) => {
    const request = route.request();
    if (request.method() !== "POST") return route.continue();
    const body = request.postDataJSON();
    return route.continue({ postData: JSON.stringify({ ...body, prompt: onTestbed(body.prompt) }) });
  });
