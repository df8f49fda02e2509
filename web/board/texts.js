// Texts by name. A missing text shows its name.
let known = {};
let sentences = [];

/** Sets all texts, and the sentences of the server that have another form in the user's language. */
export const setTexts = (texts, ofTheServer = {}) => {
  known = texts ?? {};
  sentences = Object.entries(ofTheServer ?? {}).map(([english, own]) => [pattern(english), own]);
};

/** Returns what finds a sentence of the server: {n}, {m} and {k} are numbers, other names in braces are any words. */
function pattern(english) {
  const parts = english.split(/\{(\w+)\}/).map((part, index) => {
    if (index % 2) return `(?<${part}>${/^[nmk]$/.test(part) ? "-?[\\d.,]*\\d" : ".+?"})`;
    return part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  });
  return new RegExp(parts.join(""), "g");
}

/** Returns a text that the server wrote, in the user's language as far as its sentences are known. */
export const translated = (written) =>
  sentences.reduce(
    (done, [found, own]) => done.replace(found, (...match) => own.replace(/\{(\w+)\}/g, (_, name) => match.at(-1)[name])),
    written ?? "",
  );

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

/** Returns the text of a seed's name, which the server writes as "507" or "507 variation 512 at 0.15". */
export function seedText(seed) {
  const [base, ...variations] = seed.split(" variation ");
  if (variations.length === 0) return text("seed", { seed });
  return variations.reduce((around, each) => text("around", { seed: each.split(" at ")[0], around }), base);
}

/** Returns the text of a time span in seconds, such as "3 min 40 s". */
export function timeText(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  if (h) return text("hours", { h, m });
  return m ? text("minutes", { m, s }) : text("seconds", { s });
}

/** Returns how long a number of seconds is ago, in the words of the user's language. */
export function agoText(seconds) {
  const steps = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const [unit, length] = steps.find(([, each]) => seconds >= each) ?? steps.at(-1);
  return new Intl.RelativeTimeFormat(known.language ? text("language") : "en", { numeric: "auto" }).format(-Math.floor(seconds / length), unit);
}

/** Returns the text of a score. */
export const scoreText = (score) => (score === null ? "–" : String(Number(score.toPrecision(4))));
