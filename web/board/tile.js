// Tile of one row: its picture, score, outcome and buttons.
import { make, set, write } from "./dom.js";
import { momentText, text } from "./texts.js";

/** Returns the text of a score. */
export const scoreText = (score) => (score === null ? "–" : String(Number(score.toPrecision(4))));

/** Returns the outcome of a row so far, in one or two words. */
export function outcomeText({ kept, at, mark, score }) {
  const parts = [];
  if (mark) parts.push(text(mark));
  if (kept === false && mark !== "discarded") parts.push(text(at ? "droppedAt" : "notStarted", { moment: momentText(at) }));
  else if (kept) parts.push(text("kept"));
  else if (kept === null && score !== null && at && !mark) parts.push(momentText(at));
  return parts.join(", ");
}

/** Returns everything that a tile shows as one text, for screen readers. */
export function tileLabel(row, { scale, count, prompts }) {
  const parts = [text("seed", { seed: row.seed })];
  if (prompts) parts.push(text("prompt", { prompt: row.prompt }));
  if (row.rank !== null) parts.push(text("rankOf", { rank: row.rank, count }));
  if (row.score !== null) parts.push(text("scoreIs", { score: scoreText(row.score) }));
  if (row.place !== null && scale === "calibration") parts.push(text("percentile", { place: Math.round(row.place) }));
  return [...parts, outcomeText(row), row.note].filter(Boolean).join(", ");
}

/** Element of one row. */
export class Tile {
  /** `act(action, row)` is called for "copy", "pin" and "discard". */
  constructor(act) {
    const button = (action, sign) =>
      make("button", `dp-act dp-${action}`, {
        type: "button",
        tabindex: -1, // the tile's keys do the same
        onclick: (event) => {
          event.stopPropagation();
          act(action, this.row.row);
        },
      }, sign);
    this.picture = make("img", "dp-img", { alt: "", draggable: "false", decoding: "async" });
    this.heat = make("img", "dp-heat", { alt: "", draggable: "false" });
    this.fill = make("span", "dp-fill");
    this.line = make("span", "dp-line");
    this.rank = make("b", "dp-rank");
    this.seed = make("bdi", "dp-seed");
    this.score = make("span", "dp-score");
    this.outcome = make("span", "dp-outcome");
    this.buttons = { copy: button("copy", make("span", "dp-copies")), pin: button("pin", "★"), discard: button("discard", "✕") };
    this.element = make("li", "dp-tile", { tabindex: -1 },
      make("div", "dp-picture", {}, this.picture, this.heat, make("div", "dp-acts", {}, ...Object.values(this.buttons))),
      make("div", "dp-bar", {}, this.fill, this.line),
      make("div", "dp-caption", {}, this.rank, this.score, this.seed),
      this.outcome,
    );
  }

  /** Shows a row. `around` has the values of the board that a tile needs. Returns whether anything changed. */
  update(row, around) {
    const key = JSON.stringify(around);
    if (row === this.row && key === this.key) return false;
    [this.row, this.key] = [row, key];
    this.#picture(row, around);
    set(this.element, "data-kept", row.kept === null ? null : String(row.kept));
    set(this.element, "data-mark", row.mark);
    set(this.element, "aria-label", tileLabel(row, around));
    set(this.element, "title", row.note || null);
    set(this.fill, "style", row.place === null ? null : `inline-size: ${row.place}%`);
    set(this.line, "hidden", around.line === null);
    set(this.line, "style", around.line === null ? null : `inset-inline-start: ${around.line}%`);
    write(this.rank, row.rank === null ? "" : `#${row.rank}`);
    write(this.score, scoreText(row.score));
    write(this.seed, around.prompts ? `${row.seed} · ${row.prompt}` : row.seed);
    write(this.outcome, outcomeText(row));
    this.#actions(row, around);
    return true;
  }

  #picture(row, { heat }) {
    set(this.picture, "src", row.picture);
    set(this.picture, "hidden", row.picture === null);
    const map = heat === null ? null : (row.heats[heat] ?? null);
    set(this.heat, "src", map);
    set(this.heat, "hidden", map === null);
  }

  #actions(row, { marks }) {
    const { copy, pin, discard } = this.buttons;
    for (const [button, mark] of [[pin, "pinned"], [discard, "discarded"]]) {
      set(button, "aria-pressed", String(row.mark === mark));
      set(button, "disabled", !marks || row.gone);
    }
    set(copy, "aria-label", text("copySeed", { seed: row.seed }));
    set(copy, "title", text("copySeed", { seed: row.seed }));
    set(pin, "aria-label", text("pinSeed", { seed: row.seed }));
    set(pin, "title", text(marks ? "pin" : "marksNeedHold"));
    set(discard, "aria-label", text("discardSeed", { seed: row.seed }));
    set(discard, "title", text(marks ? "discard" : "marksNeedHold"));
  }
}
