// Dialog over the page: keys, wheel and clipboard stay in it, and the canvas below gets none of them.
import { make, set } from "./dom.js";

const KEPT_IN = ["keydown", "keyup", "wheel", "pointerdown", "pointermove", "contextmenu", "copy", "cut", "paste", "drop"];

/** Layer over the page. The browser keeps the focus in it, and gives it back when it closes. */
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
}
