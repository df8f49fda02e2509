// Texts by name. What is missing shows its name.
let known = {};

export const setTexts = (texts) => {
  known = texts ?? {};
};

/** The text `name`, with `{key}` replaced by its value. */
export function text(name, values = {}) {
  return (known[name] ?? name).replace(/\{(\w+)\}/g, (whole, key) => (key in values ? values[key] : whole));
}

/** A moment as the server names it: "20%", "step 5", "the end". */
export function momentText(moment) {
  const step = /^step (\d+)$/.exec(moment ?? "");
  if (step) return text("step", { step: step[1] });
  return moment === "the end" ? text("theEnd") : (moment ?? "");
}
