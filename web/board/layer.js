// Dialog over the page: keys, wheel and clipboard stay in it, and the canvas below gets none of them.
import { make, set } from "./dom.js";

const KEPT_IN = ["keydown", "keyup", "wheel", "pointerdown", "pointermove", "contextmenu", "copy", "cut", "paste", "drop"];

const STOPS = 'button:enabled, select, input, a[href], summary, [tabindex="0"]';

/** Layer over the page. The focus stays in it, and the browser gives it back when it closes. */
export class Layer {
  /** `closed()` is called after it closed, by Escape too. */
  constructor(name, closed, ...children) {
    this.element = make("dialog", `dp-layer ${name}`, {
      onclose: () => {
        this.element.remove();
        closed();
      },
      onclick: ({ target }) => target === this.element && this.end(), // beside its content
    }, make("div", "dp-page dp-ui", {}, ...children));
    this.element.addEventListener("keydown", (event) => this.#wrap(event));
    for (const type of KEPT_IN) this.element.addEventListener(type, (event) => event.stopPropagation(), { passive: true });
  }

  get isOpen() {
    return this.element.open;
  }

  /** Opens it, with a name for screen readers. */
  open(label) {
    set(this.element, "aria-label", label);
    if (this.isOpen) return;
    document.body.append(this.element);
    this.element.showModal();
  }

  /** Closes it, if it is open. */
  end() {
    if (this.isOpen) this.element.close();
  }
  /** Moves the focus from the last control to the first and back, instead of out of the page. */
  #wrap(event) {
    if (event.key !== "Tab") return;
    const stops = [...this.element.querySelectorAll(STOPS)].filter((each) => each.checkVisibility());
    const [from, to] = event.shiftKey ? [stops[0], stops.at(-1)] : [stops.at(-1), stops[0]];
    if (document.activeElement !== from) return;
    event.preventDefault();
    to.focus();
  }
}
