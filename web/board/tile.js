// Tile of one row: its picture, score, outcome and buttons.
import { button, icon, label, make, set, write } from "./dom.js";
import { momentText, scoreText, seedText, text } from "./texts.js";

/** Returns the outcome of a row so far, in a few words; `over` says whether the run is. */
export function outcomeText(row, { over }) {
  return [row.mark ? text(row.mark) : "", progressText(row, over)].filter(Boolean).join(", ");
}

/** Returns how far a row came, in a few words. */
function progressText({ kept, at, mark, finished, score }, over) {
  const moment = momentText(at);
  if (finished) return text(kept === false ? "finishedNotKept" : "finished");
  if (kept) return mark === "pinned" ? "" : text("kept");
  if (kept === null) return score === null || mark ? "" : moment;
  if (!at) return over ? text("notStarted") : "";
  if (mark === "discarded") return "";
  return text(score === null ? "sampledTo" : "droppedAt", { moment });
}

/** Returns everything that a tile shows as one text, for screen readers. */
export function tileLabel(row, around) {
  const { scale, count, prompts } = around;
  const parts = [seedText(row.seed)];
  if (prompts) parts.push(text("prompt", { prompt: row.prompt }));
  if (row.rank !== null) parts.push(text("rankOf", { rank: row.rank, count }));
  if (row.score !== null) parts.push(text("scoreIs", { score: scoreText(row.score) }));
  if (row.place !== null && scale === "calibration") parts.push(text("percentile", { place: Math.round(row.place) }));
  return [...parts, outcomeText(row, around), row.note].filter(Boolean).join(", ");
}

/** Element of one row. */
export class Tile {
  /** `act(action, row, button)` is called for "pin", "discard" and "menu". */
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
    this.buttons = { pin: control("pin", "pick"), discard: control("discard", "discard"), menu: control("menu", "more") };
    this.element = make("li", "dp-tile", { tabindex: -1 },
      make("div", "dp-picture", {}, this.picture, this.heat),
      this.bar,
      make("div", "dp-caption", {}, this.rank, this.score, this.outcome),
      make("div", "dp-caption", {}, this.seed, make("div", "dp-acts", {}, ...Object.values(this.buttons))),
    );
  }

  /**
   * Shows a row. `around` has the values of the board that a tile needs; `own` those of this tile beside its row: its
   * finished `image`, and whether it is `chosen` to be compared. Returns whether anything changed.
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
    write(this.rank, row.rank === null ? "" : `#${row.rank}`);
    write(this.score, row.score === null ? "" : scoreText(row.score));
    write(this.seed, around.prompts ? `${seedText(row.seed)} · ${row.prompt}` : seedText(row.seed));
    write(this.outcome, progressText(row, around.over)); // its mark is on the buttons
    this.#actions(row, around);
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

  #actions(row, around) {
    const { pin, discard, menu } = this.buttons;
    const seed = seedText(row.seed);
    markButton(pin, "pin", row, around);
    markButton(discard, "discard", row, around);
    label(menu, text("more", { seed }));
  }
}

/** Returns whether a mark on a row counts; see `marks` and `over` of the board. */
export const isMarkable = (row, { marks, over }) => marks && !(over ? row.finished : row.gone);

/** Shows on a button whether a row has its mark ("pin" or "discard"), and whether it can be changed. */
export function markButton(element, action, row, around) {
  const can = isMarkable(row, around);
  set(element, "aria-pressed", String(row.mark === { pin: "pinned", discard: "discarded" }[action]));
  set(element, "disabled", !can);
  set(element, "aria-label", text(`${action}Seed`, { seed: seedText(row.seed) }));
  set(element, "title", text(can ? action : row.finished ? "isFinished" : around.marks ? "gone" : "marksNeedHold"));
}
