// Menu of one candidate, over everything else on the page.
import { button, make, set, write } from "./dom.js";
import { moved } from "./keys.js";

/** Menu that opens at an element, and closes by Escape, by a click elsewhere, or by a choice. */
export class Menu {
  constructor() {
    this.element = make("div", "dp-popup dp-ui", {
      role: "menu",
      popover: "auto",
      onkeydown: (event) => this.#key(event),
      ontoggle: ({ newState }) => newState === "closed" && this.#closed(),
    });
    for (const type of ["keyup", "wheel", "pointerdown", "click"]) {
      this.element.addEventListener(type, (event) => event.stopPropagation(), { passive: true });
    }
  }

  /** Opens a menu named `label` at an element; `items` are `[text, choose]`. */
  open(at, label, items) {
    set(this.element, "aria-label", label);
    this.element.replaceChildren(...items.map(([title, choose]) => this.#item(title, choose)));
    (at.closest("dialog") ?? document.body).append(this.element); // what is outside of an open dialog is inert
    this.element.showPopover();
    this.#place(at.getBoundingClientRect());
    this.element.firstElementChild?.focus();
  }

  /** Closes it, if it is open. */
  end() {
    if (this.element.isConnected) this.element.hidePopover();
  }

  #item(title, choose) {
    const item = button("dp-item", () => {
      this.end();
      choose();
    }, { role: "menuitem", tabindex: -1 });
    write(item, title);
    return item;
  }

  #place({ left, top, bottom }) {
    const { offsetWidth, offsetHeight, style } = this.element;
    style.left = `${Math.max(4, Math.min(left, innerWidth - offsetWidth - 4))}px`;
    style.top = `${bottom + offsetHeight + 4 < innerHeight ? bottom : Math.max(4, top - offsetHeight)}px`;
  }

  #key(event) {
    event.stopPropagation();
    const items = [...this.element.children];
    const to = moved(event.key, items.indexOf(document.activeElement), items.length, 1);
    if (event.key === "Tab") this.end();
    if (to === null) return;
    event.preventDefault();
    items[to].focus();
  }

  #closed() {
    if (!this.element.matches(":popover-open")) this.element.remove(); // it may be open again already
  }
}
