// Large view of one candidate, over the page, from which the others are reached by arrows.
import { button, icon, label, make, set, write } from "./dom.js";
import { largeAction, moved } from "./keys.js";
import { Layer } from "./layer.js";
import { Message } from "./message.js";
import { canMark, picks } from "./state.js";
import { scoreText, seedText, text } from "./texts.js";
import { markButton, markText, outcomeText, tileLabel } from "./tile.js";
import { Words } from "./words.js";

/** Large view. */
export class Large {
  /**
   * `act(action, value, element)` as of Tiles. `pictures` shows pictures of rows (Pictures). `closed(number)` is called
   * with the row that was shown last.
   */
  constructor(act, pictures, closed) {
    this.act = act;
    this.pictures = pictures;
    this.number = null;
    this.seed = make("bdi", "dp-title");
    this.facts = make("span", "dp-facts");
    this.go = button("dp-main", () => act("go"), { hidden: true });
    this.closing = button("dp-icons", () => this.layer.end(), {}, icon("close"));
    this.picture = make("img", "dp-img", { draggable: "false" });
    this.heat = make("img", "dp-heat", { alt: "", draggable: "false" });
    this.frame = make("div", "dp-frame", { tabindex: -1 }, this.picture, this.heat);
    this.before = button("dp-turn dp-before", () => this.#turn("ArrowLeft"), {}, icon("before"));
    this.after = button("dp-turn dp-after", () => this.#turn("ArrowRight"), {}, icon("after"));
    this.note = make("div", "dp-reason", { dir: "auto" });
    this.words = new Words((word) => act("word", word));
    this.marks = { pin: this.#mark("pin", "pick"), discard: this.#mark("discard", "discard") };
    this.finished = button("", () => this.#showFinished(!this.isFinished));
    this.compare = button("", () => act("compare", [this.number, this.#other()]), {}, icon("compare"), make("span"));
    this.more = button("dp-icons dp-menu", () => act("menu", this.number, this.more), {}, icon("more"));
    this.file = make("a", "dp-file", { target: "_blank", rel: "noopener" }, icon("file"), make("bdi"));
    this.message = new Message();
    this.layer = new Layer("dp-large", () => this.#closed(closed),
      make("header", "dp-large-head", {}, make("div", "dp-about-one", { role: "status" }, this.seed, this.facts), this.go, this.closing),
      make("div", "dp-stage", {}, this.before, this.frame, this.after),
      this.note,
      this.words.element,
      make("footer", "dp-large-foot", {}, this.marks.pin, this.marks.discard, this.compare, this.finished, this.file, this.more),
      this.message.element,
    );
    this.layer.element.addEventListener("keydown", (event) => this.#key(event));
    this.picture.addEventListener("load", () => this.#aspect());
    this.#name();
  }

  get isOpen() {
    return this.layer.isOpen;
  }

  /** Opens it on a row. */
  open(number, { state, around, numbers }) {
    this.number = number;
    this.isFinished = true;
    this.update({ state, around, numbers });
    this.frame.focus(); // no button, so that the space bar closes it again
  }

  /** Shows a state, of which `numbers` are the rows in order; closes if the row that it shows is gone. */
  update({ state, around, numbers }) {
    if (this.number === null) return;
    Object.assign(this, { state, around, numbers });
    const row = state.rows.get(this.number);
    if (!row) return this.layer.end();
    const image = state.images.get(this.number);
    write(this.seed, seedText(row.seed));
    write(this.facts, factsText(row, around));
    set(this.picture, "alt", tileLabel(row, around));
    this.pictures.show(this.picture, row, this.isFinished ? image : undefined);
    const map = around.heat === null ? null : (row.heats[around.heat] ?? null);
    set(this.heat, "src", map);
    set(this.heat, "hidden", map === null);
    write(this.note, row.note);
    this.words.update(state);
    const marking = { can: canMark(state, row), marks: around.marks };
    for (const [action, element] of Object.entries(this.marks)) markButton(element, action, row, marking);
    set(this.finished, "hidden", !image || !row.picture);
    set(this.finished, "aria-pressed", String(this.isFinished));
    set(this.file, "hidden", !image);
    if (image) {
      set(this.file, "href", image.url);
      write(this.file.lastChild, image.name);
    }
    this.#ends();
    this.#go();
    this.layer.open(tileLabel(row, around));
  }

  /** Closes it. */
  end() {
    this.message.end();
    this.layer.end();
  }

  #name() {
    label(this.closing, text("closeLarge"));
    label(this.before, text("before"));
    label(this.after, text("after"));
    label(this.more, text("moreHere"));
    write(this.finished, text("finishedImage"));
    set(this.finished, "title", text("finishedImageHelp"));
    write(this.compare.lastChild, text("compare"));
    set(this.compare, "title", text("compareHelp"));
    set(this.file, "title", text("file"));
    for (const [action, element] of Object.entries(this.marks)) write(element.lastChild, markText(action));
  }

  #mark(action, sign) {
    return button(`dp-${action}`, () => this.act(action, this.number), {}, icon(sign), make("span"));
  }

  #ends() {
    const index = this.numbers.indexOf(this.number);
    set(this.before, "disabled", index <= 0);
    set(this.after, "disabled", index === this.numbers.length - 1);
    set(this.compare, "disabled", this.numbers.length < 2);
  }

  #go() {
    const { state } = this;
    const count = picks(state).length;
    set(this.go, "hidden", state.state !== "held");
    set(this.go, "disabled", state.chooses && count === 0);
    write(this.go, state.chooses ? text("finishCount", { count }) : text("goOnShort"));
  }

  #showFinished(isFinished) {
    this.isFinished = isFinished;
    this.update(this);
  }

  /** Returns the row to compare with: another one that is picked, or the next. */
  #other() {
    const other = picks(this.state).find(({ row }) => row !== this.number);
    const index = this.numbers.indexOf(this.number);
    return other?.row ?? this.numbers[index + 1] ?? this.numbers[index - 1];
  }

  #turn(key) {
    const to = moved(key, this.numbers.indexOf(this.number), this.numbers.length, 1);
    if (to === null) return false;
    this.number = this.numbers[to];
    this.update(this);
    return true;
  }

  #key(event) {
    if (event.target.closest(".dp-popup")) return;
    if (this.#turn(event.key)) return event.preventDefault();
    const action = largeAction(event);
    if (action === null || (event.key === " " && event.target.closest("button, a"))) return;
    event.preventDefault();
    if (action === "close") this.layer.end();
    else if (action === "compare") this.compare.click();
    else if (action in this.marks) this.marks[action].click();
    else this.act(action, this.number);
  }

  #aspect() {
    const { naturalWidth, naturalHeight } = this.picture;
    if (naturalWidth && naturalHeight) this.frame.style.setProperty("--dp-aspect", naturalWidth / naturalHeight);
  }

  #closed(closed) {
    const { number } = this;
    this.number = null;
    closed(number);
  }
}

/** Returns rank, score and outcome of a row in one line. */
export function factsText(row, around) {
  const facts = [];
  if (around.prompts) facts.push(text("prompt", { prompt: row.prompt }));
  if (row.rank !== null && around.scored) facts.push(text("rankOf", { rank: row.rank, count: around.count }));
  if (row.score !== null) facts.push(text("scoreIs", { score: scoreText(row.score) }));
  return [...facts, outcomeText(row, around)].filter(Boolean).join(" · ");
}
