// Words whose maps of attention can be laid over the pictures.
import { button, label, make, set } from "./dom.js";
import { text } from "./texts.js";

/** One button for each word; a second click on the chosen word chooses none. */
export class Words {
  /** `choose(word)` is called with a word or null. */
  constructor(choose) {
    this.choose = choose;
    this.element = make("div", "dp-words", { role: "group" });
    set(this.element, "aria-label", text("wordMap"));
  }

  /** Shows the words of a state. */
  update({ words, word }) {
    const key = JSON.stringify([words, word]);
    if (key === this.key) return;
    this.key = key;
    set(this.element, "hidden", words.length === 0);
    const at = [...this.element.children].indexOf(document.activeElement);
    const chips = words.map((each) => {
      const chip = button("dp-chip", () => this.choose(each === word ? null : each), { dir: "auto" }, each);
      set(chip, "title", text("wordMapOf", { word: each }));
      set(chip, "aria-pressed", String(each === word));
      return chip;
    });
    this.element.replaceChildren(...chips);
    if (at >= 0) this.element.children[at]?.focus({ preventScroll: true });
  }
}
