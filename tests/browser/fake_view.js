// A view of the board alone, with states that a test makes by hand; `acts` has the actions of its user.
import { readBoard } from "./board/events.js";
import { BOARD, ROW } from "./board/schema.js";
import { emptyOf } from "./board/events.js";
import { EMPTY, ended, marked, received } from "./board/state.js";
import { setTexts } from "./board/texts.js";
import { View } from "./board/view.js";

export const acts = [];
export const asked = []; // rows of which a large picture was asked
export const wait = { now: null }; // a promise that large pictures wait for
export let state = EMPTY;
export let view;

const ask = {
  targets: () => [{ id: "3", title: "KSampler" }, { id: "9", title: "Another KSampler" }],
  picture: async (row) => {
    asked.push(row);
    await wait.now;
    return picture(row, 512);
  },
};

/** Makes the view on an element of that size, in that language. */
export async function open(width = 420, height = 600, language = "en") {
  setTexts((await (await fetch(`./${language}.json`)).json()).diffusionProbe);
  const frame = document.createElement("div");
  frame.className = "frame";
  frame.style.cssText = `position: relative; width: ${width}px; height: ${height}px;`;
  document.body.append(frame);
  view = new View((action, value) => {
    acts.push([action, value]);
    const change = { sort: "sort", word: "word", size: "size" }[action];
    if (change) show({ ...state, [change]: value });
    if (action === "pin" || action === "discard") mark(value, { pin: "pinned", discard: "discarded" }[action]);
  }, ask);
  frame.append(view.element);
  show(state);
}

/** Shows a state; returns how many tiles changed. */
export function show(next) {
  state = next;
  return view.update(state, "Seed Search");
}

const mark = (row, wanted) => show(marked(state, row, state.rows.get(row).mark === wanted ? null : wanted));

let number = 0;
const content = (rows, more) => readBoard({
  ...emptyOf(BOARD), kind: "search", probe: "Preview Reward", label: "ImageReward", skilled: true, scale: "batch", ...more,
  rows: rows.map((each) => ({ ...emptyOf(ROW), ...each })),
});

/** Shows a board of a run that goes on. */
export const run = (rows, more = {}, beside = {}) =>
  show({
    ...received(state, {
      address: { prompt: "run 1", node: "7", display: "7", workflow: "" }, number: (number += 1), full: true,
      board: content(rows, { state: "running", ...more }),
    }),
    ...beside,
  });

/** Shows a board of a run that is over. */
export const end = (rows, more = {}, beside = {}) =>
  show({ ...ended(state, content(rows, { state: "done", ...more }), "the report"), canSend: { next: true, finish: rows.some(({ mark }) => mark === "pinned") }, ...beside });

/** A row with a picture. */
export const row = (number, more = {}) => ({
  row: number, seed: String(500 + number), score: null, at: "step 4", picture: picture(number, 96), ...more,
});

/** Rows that were scored, of which the best is the first. */
export const scored = (count, more = () => ({})) =>
  Array.from({ length: count }, (_, each) =>
    row(each, { score: 1.5 - 0.213 * each, place: (100 * (count - each)) / count, rank: each + 1, ...more(each) }));

let shape = [1, 1];
/** Sets width and height of pictures to come, of which the longer is 1. */
export const setShape = (...wanted) => (shape = wanted);

/** A picture of a hill and a sun, different for each number, whose longer side is `size`. */
export function picture(number, size) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = shape.map((each) => Math.round(each * size));
  const { width, height } = canvas;
  const context = canvas.getContext("2d");
  const sky = context.createLinearGradient(0, 0, 0, height);
  sky.addColorStop(0, `hsl(${(47 * number) % 360} 70% 35%)`);
  sky.addColorStop(1, `hsl(${(47 * number + 60) % 360} 80% 75%)`);
  context.fillStyle = sky;
  context.fillRect(0, 0, width, height);
  context.fillStyle = "#ffd";
  context.beginPath();
  context.arc(width * (0.2 + 0.6 * ((number * 0.37) % 1)), height * 0.35, size * 0.1, 0, 7);
  context.fill();
  context.fillStyle = `hsl(${(47 * number + 150) % 360} 40% 22%)`;
  context.beginPath();
  context.ellipse(width * ((number * 0.61) % 1), height * 1.05, width * 0.6, height * 0.4, 0, 0, 7);
  context.fill();
  return canvas.toDataURL("image/png");
}
