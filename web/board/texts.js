// Texts by name. A missing text shows its name.
let known = {};

/** Sets all texts. */
export const setTexts = (texts) => {
  known = texts ?? {};
};

/** Returns the text `name`, with `{key}` replaced by its value. */
export function text(name, values = {}) {
  return (known[name] ?? name).replace(/\{(\w+)\}/g, (whole, key) => (key in values ? values[key] : whole));
}

/** Returns the text of a moment, which the server names "20%", "step 5", "the end". */
export function momentText(moment) {
  const step = /^step (\d+)$/.exec(moment ?? "");
  if (step) return text("step", { step: step[1] });
  return moment === "the end" ? text("theEnd") : (moment ?? "");
}
