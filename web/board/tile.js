// Tile of one row: its picture, score, outcome and buttons.
import { button, icon, label, make, set, write } from "./dom.js";
import { momentText, scoreText, seedText, text } from "./texts.js";

/** Returns the outcome of a row so far, in a few words; `over` says whether the run is. */
export function outcomeText(row, { over }) {
  return [row.mark ? text(row.mark) : "", progressText(row, over)].filter(Boolean).join(", ");
}

/** Returns how far a row came, in a few words. */
function progressText({ kept, at, mark, finished, score, gone }, over) {
  const moment = momentText(at);
  if (finished) return text(kept === false ? "finishedNotKept" : "finished");
  if (kept) return mark === "pinned" ? "" : text("kept");
  if (kept === null) return score === null || mark ? "" : moment;
  if (!at) return over ? text("notStarted") : "";
  if (mark === "discarded") return "";
  if (!over && !gone) return text("notKept");
  return text(score === null ? "sampledTo" : "droppedAt", { moment });
}

/** Returns everything that a tile shows as one text, for screen readers. */
export function tileLabel(row, around) {
  const { scale, count, prompts, scored } = around;
  const parts = [seedText(row.seed)];
  if (prompts) parts.push(text("prompt", { prompt: row.prompt }));
  if (row.rank !== null && scored) parts.push(text("rankOf", { rank: row.rank, count }));
  if (row.score !== null) parts.push(text("scoreIs", { score: scoreText(row.score) }));
  if (row.place !== null && scale === "calibration") parts.push(text("percentile", { place: Math.round(row.place) }));
  return [...parts, outcomeText(row, around), row.note].filter(Boolean).join(", ");
}

/** Element of one row. */
export class Tile {
  /** `act(action, row, button)` is called for "pin", "finishOne", "discard" and "menu". */
  constructor(act) {
    const control = (action, sign) =>
      button(`dp-act dp-${action}`, ({ currentTarget }) => act(action, this.row.row, currentTarget), {
        tabindex: -1, // the tile's keys do the same
      }, icon(sign));
    this.picture = make("img", "dp-img", { alt: "", draggable: "false", decoding: "async" });
    this.heat = make("img", "dp-heat", { alt: "", draggable: "false" });
    this.fill = make("span", "dp-fill");
    this.line = make("span", "dp-line");
    this.bar = make("div", "dp-bar", {}, this.fill, this.line);
    this.rank = make("b", "dp-rank");
    this.seed = make("bdi", "dp-seed");
    this.score = make("span", "dp-score");
    this.outcome = make("span", "dp-outcome");
    this.buttons = {
      finishOne: control("finishOne", "run"),
      pin: control("pin", "pick"),
      discard: control("discard", "discard"),
      menu: control("menu", "more"),
    };
    this.element = make("li", "dp-tile", { tabindex: -1 },
      make("div", "dp-picture", {}, this.picture, this.heat),
      this.bar,
      make("div", "dp-caption", {}, this.rank, this.score, this.outcome),
      make("div", "dp-caption", {}, this.seed, make("div", "dp-acts", {}, ...Object.values(this.buttons))),
    );
  }

  /**
   * Shows a row. `around` has the values of the board that a tile needs; `own` those of this tile beside its row: its
   * finished `image`, whether it is `chosen` to be compared, and whether it `can` be marked. Returns whether anything changed.
   */
  update(row, around, own = {}) {
    const key = JSON.stringify([around, own]);
    if (row === this.row && key === this.key) return false;
    [this.row, this.key] = [row, key];
    this.#picture(row, around, own.image);
    set(this.element, "data-seed", row.seed);
    set(this.element, "data-kept", row.kept === null ? null : String(row.kept));
    set(this.element, "data-finished", row.finished);
    set(this.element, "data-mark", row.mark);
    set(this.element, "data-chosen", Boolean(own.chosen));
    set(this.element, "aria-label", [tileLabel(row, around), own.chosen ? text("chosen") : ""].filter(Boolean).join(", "));
    set(this.element, "title", row.note || null);
    set(this.bar, "hidden", !around.scored);
    set(this.fill, "style", row.place === null ? null : `inline-size: ${row.place}%`);
    set(this.line, "hidden", around.line === null);
    set(this.line, "style", around.line === null ? null : `inset-inline-start: ${around.line}%`);
    write(this.rank, row.rank === null || !around.scored ? "" : `#${row.rank}`);
    write(this.score, row.score === null ? "" : scoreText(row.score));
    write(this.seed, around.prompts ? `${seedText(row.seed)} · ${row.prompt}` : seedText(row.seed));
    write(this.outcome, progressText(row, around.over)); // its mark is on the buttons
    for (const action of ["pin", "discard"]) markButton(this.buttons[action], action, row, { can: own.can, marks: around.marks });
    set(this.buttons.finishOne, "hidden", !around.choosing);
    set(this.buttons.finishOne, "disabled", row.gone);
    label(this.buttons.finishOne, text("finishOne", { seed: seedText(row.seed) }));
    label(this.buttons.menu, text("more", { seed: seedText(row.seed) }));
    return true;
  }

  #picture(row, { heat }, image) {
    const source = image?.url ?? row.picture;
    if (image) this.picture.onerror = () => set(this.picture, "src", this.row.picture); // its file is gone
    set(this.picture, "src", source);
    set(this.picture, "hidden", source === null);
    const map = heat === null ? null : (row.heats[heat] ?? null);
    set(this.heat, "src", map);
    set(this.heat, "hidden", map === null);
  }
}

/** Mark that each action sets, and names of its texts. */
const MARKS = {
  pin: { mark: "pinned", name: "pinSeed", help: "pin", short: "pinShort" },
  discard: { mark: "discarded", name: "discardSeed", help: "discard", short: "discardShort" },
};

/** Returns the word on a button that sets a mark. */
export const markText = (action) => text(MARKS[action].short);

/**
 * Shows on a button whether a row has its mark ("pin" or "discard"), and whether it can be changed: `can`. `marks` says
 * whether the board takes marks at all.
 */
export function markButton(element, action, row, { can, marks }) {
  const { mark, name, help } = MARKS[action];
  set(element, "aria-pressed", String(row.mark === mark));
  set(element, "disabled", !can);
  set(element, "aria-label", text(name, { seed: seedText(row.seed) }));
  set(element, "title", text(can ? help : row.finished ? "isFinished" : marks ? "gone" : "marksNeedHold"));
}
