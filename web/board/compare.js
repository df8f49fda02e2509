// Two candidates in one picture: the divider follows the pointer and the arrow keys.
import { button, icon, label, make, set, write } from "./dom.js";
import { factsText } from "./large.js";
import { Layer } from "./layer.js";
import { canMark } from "./state.js";
import { seedText, text } from "./texts.js";
import { markButton, markText } from "./tile.js";

const SIDES = ["left", "right"];

/** Comparison of two rows. */
export class Compare {
  /** `act(action, row)` is called for "pin" and "discard". `pictures` shows pictures of rows (Pictures). */
  constructor(act, pictures) {
    this.act = act;
    this.pictures = pictures;
    this.pair = null;
    this.closing = button("dp-icons", () => this.layer.end(), {}, icon("close"));
    this.title = make("span", "dp-title");
    this.swap = button("", () => this.#show([this.pair[1], this.pair[0]]));
    this.divider = make("input", "dp-divider", { type: "range", min: 0, max: 100, step: 0.5, oninput: () => this.#divide() });
    this.sides = Object.fromEntries(SIDES.map((side, index) => [side, this.#side(side, index)]));
    this.frame = make("div", "dp-frame dp-pair", {
      dir: "ltr", // the left picture is left in any language
      onpointermove: (event) => this.#follow(event),
    }, this.sides.left.picture, this.sides.right.picture, make("div", "dp-edge"), this.divider);
    this.layer = new Layer("dp-large dp-compare", () => (this.pair = null),
      make("header", "dp-large-head", {}, this.title, this.swap, this.closing),
      make("div", "dp-stage", {}, this.frame),
      make("footer", "dp-large-foot dp-sides", { dir: "ltr" }, ...SIDES.map((side) => this.sides[side].element)),
    );
    this.layer.element.addEventListener("keydown", (event) => this.#key(event));
    this.sides.left.picture.addEventListener("load", ({ target }) =>
      this.frame.style.setProperty("--dp-aspect", target.naturalWidth / target.naturalHeight));
    this.#name();
  }

  /** Opens it on two rows. */
  open(pair, { state, around, numbers }) {
    this.pair = pair;
    this.update({ state, around, numbers });
    this.divider.value = 50;
    this.#divide();
    this.divider.focus();
  }

  /** Shows a state; closes if one of its rows is gone. */
  update({ state, around, numbers }) {
    if (this.pair === null) return;
    Object.assign(this, { state, around, numbers });
    if (!this.pair.every((number) => state.rows.has(number))) return this.layer.end();
    this.pair.forEach((number, index) => this.#update(this.sides[SIDES[index]], number));
    const [left, right] = this.pair.map((number) => seedText(state.rows.get(number).seed));
    this.layer.open(text("compareOf", { left, right }));
    label(this.divider, text("dividerOf", { left, right }));
  }

  /** Closes it. */
  end() {
    this.layer.end();
  }

  #name() {
    write(this.title, text("compare"));
    write(this.swap, text("swap"));
    label(this.closing, text("closeLarge"));
  }

  #side(side, index) {
    const mark = (action, sign) =>
      button(`dp-${action}`, () => this.act(action, this.pair[index]), {}, icon(sign), make("span", "", {}, markText(action)));
    const row = make("select", "dp-row", { onchange: () => this.#show(this.pair.with(index, Number(row.value))) });
    const facts = make("bdi", "dp-facts");
    const marks = { pin: mark("pin", "pick"), discard: mark("discard", "discard") };
    label(row, text(index ? "rightPicture" : "leftPicture"));
    const picture = make("img", `dp-img dp-${side}`, { alt: "", draggable: "false" });
    return { picture, row, facts, marks, element: make("div", `dp-side dp-side-${side}`, {}, row, facts, ...Object.values(marks)) };
  }

  #show(pair) {
    this.pair = pair;
    this.update(this);
  }

  #update({ picture, row, facts, marks }, number) {
    const { state, around, numbers } = this;
    const shown = state.rows.get(number);
    const names = JSON.stringify(numbers);
    if (row.dataset.rows !== names) {
      row.dataset.rows = names;
      row.replaceChildren(...numbers.map((each) => make("option", "", { value: each }, seedText(state.rows.get(each).seed))));
    }
    row.value = number;
    write(facts, factsText(shown, around));
    const marking = { can: canMark(state, shown), marks: around.marks };
    for (const [action, element] of Object.entries(marks)) markButton(element, action, shown, marking);
    set(picture, "alt", seedText(shown.seed));
    this.pictures.show(picture, shown, state.images.get(number));
  }

  #follow({ clientX, pointerType, currentTarget }) {
    if (pointerType !== "mouse") return; // a finger drags the divider itself
    const { left, width } = currentTarget.getBoundingClientRect();
    this.divider.value = (100 * (clientX - left)) / width;
    this.#divide();
  }

  #divide() {
    this.frame.style.setProperty("--dp-divider", `${this.divider.value}%`);
    set(this.divider, "aria-valuetext", text("dividerAt", { share: Math.round(this.divider.value) }));
  }

  #key(event) {
    if (event.target !== this.divider) return;
    const step = { ArrowLeft: -5, ArrowRight: 5, ArrowDown: -5, ArrowUp: 5 }[event.key];
    if (!step) return; // Home, End and Page keys are the slider's own
    event.preventDefault();
    this.divider.value = Number(this.divider.value) + step;
    this.#divide();
  }
}
