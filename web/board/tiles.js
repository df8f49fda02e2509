// List of a board's tiles: their order, size, keys, and the choice of two to compare.
import { make, set } from "./dom.js";
import { tileWidth } from "./fit.js";
import { moved, tileAction } from "./keys.js";
import { canMark, order } from "./state.js";
import { text } from "./texts.js";
import { Tile } from "./tile.js";

/** Elements of all tiles. */
export class Tiles {
  /**
   * `act(action, row, element)` is called for "open" of a large view, "chosen" of the first of two rows and "compare"
   * with both, "menu", and for the actions of a View.
   */
  constructor(act) {
    this.act = act;
    this.tiles = new Map();
    this.numbers = [];
    this.chosen = null; // the first of two to compare
    this.element = make("ul", "dp-tiles", {
      role: "list",
      onkeydown: (event) => this.#key(event),
      onclick: (event) => this.#click(event),
      onfocusin: ({ target }) => this.#focused(target.closest(".dp-tile")),
    });
    set(this.element, "aria-label", text("candidates"));
    this.element.addEventListener("load", ({ target }) => this.#aspect(target), true); // load doesn't bubble
    this.resized = new ResizeObserver(() => this.#fit());
    this.resized.observe(this.element);
  }

  /** Shows a state; `around` as of Tile. Returns how many tiles were made, changed and moved. */
  update(state, around) {
    this.around = around;
    this.state = state;
    const done = { made: 0, changed: 0, moved: 0 };
    const list = this.element;
    const focused = list.contains(document.activeElement) ? document.activeElement : null;
    this.numbers = order(state);
    for (const [number, tile] of this.tiles) {
      if (!state.rows.has(number)) {
        tile.element.remove();
        this.tiles.delete(number);
      }
    }
    if (!state.rows.has(this.chosen)) this.chosen = null;
    this.numbers.forEach((number, index) => {
      let tile = this.tiles.get(number);
      if (!tile) {
        tile = new Tile(this.act);
        this.tiles.set(number, tile);
        done.made += 1;
      }
      done.changed += this.#show(number);
      if (list.children[index] !== tile.element) {
        list.insertBefore(tile.element, list.children[index] ?? null);
        done.moved += 1;
      }
    });
    if (document.activeElement !== focused) focused?.focus({ preventScroll: true }); // an element that moves loses focus
    if (!list.querySelector(".dp-tile[tabindex='0']")) this.#focused(list.firstElementChild);
    const sized = JSON.stringify([state.size, state.rows.size, state.state]);
    if (sized !== this.sized) this.#fit();
    this.sized = sized;
    return done;
  }

  /** Puts the focus on a row's tile. */
  focus(number) {
    this.tiles.get(number)?.element.focus();
  }

  /** Chooses a row to be compared, or compares it with the one that was chosen before. */
  choose(number) {
    const first = this.chosen;
    this.chosen = first === null ? number : null;
    for (const each of new Set([first ?? number, number])) this.#show(each);
    if (first === null) this.act("chosen");
    else if (first !== number) this.act("compare", [first, number]);
  }

  /** Stops the observer. */
  end() {
    this.resized.disconnect();
  }

  #show(number) {
    const row = this.state.rows.get(number);
    const own = { image: this.state.images.get(number), chosen: number === this.chosen, can: canMark(this.state, row) };
    return this.tiles.get(number).update(row, this.around, own);
  }

  #numberOf(tile) {
    return this.numbers[[...this.element.children].indexOf(tile)];
  }

  #click({ target, shiftKey, ctrlKey, metaKey }) {
    const tile = target.closest(".dp-tile");
    if (!tile || target.closest("button")) return;
    tile.focus();
    const number = this.#numberOf(tile);
    if (shiftKey || ctrlKey || metaKey) this.choose(number);
    else this.act("open", number);
  }

  #key(event) {
    const tile = event.target.closest(".dp-tile");
    if (!tile || event.target !== tile) return; // a button's own keys
    const tiles = [...this.element.children];
    const index = tiles.indexOf(tile);
    const to = moved(event.key, index, tiles.length, columns(tiles));
    const action = tileAction(event);
    if (to === null && action === null) return;
    event.preventDefault();
    if (to !== null) tiles[to].focus();
    else if (action === "compare") this.choose(this.numbers[index]);
    else this.act(action, this.numbers[index], tile);
  }

  #focused(element) {
    if (!element) return;
    for (const other of this.element.querySelectorAll(".dp-tile[tabindex='0']")) set(other, "tabindex", -1);
    set(element, "tabindex", 0);
  }

  #aspect({ naturalWidth, naturalHeight, className }) {
    const aspect = naturalWidth / naturalHeight;
    if (className !== "dp-img" || !(aspect > 0) || aspect === this.aspect) return;
    this.aspect = aspect;
    this.element.style.setProperty("--dp-aspect", aspect);
    this.#fit();
  }

  #fit() {
    const first = this.element.firstElementChild;
    const { size } = this.state ?? {};
    set(this.element, "data-sized", Boolean(size));
    if (size) this.element.style.setProperty("--dp-size", `${size}px`);
    if (size || !first || this.element.clientWidth === 0) return;
    const { columnGap, paddingLeft, paddingTop } = getComputedStyle(this.element);
    const room = {
      width: this.element.clientWidth - 2 * parseFloat(paddingLeft),
      height: this.element.clientHeight - 2 * parseFloat(paddingTop),
      gap: parseFloat(columnGap),
    };
    const picture = first.firstElementChild;
    let last;
    for (let tries = 0; tries < 3; tries += 1) { // texts need less height in wider tiles
      const beside = [first.offsetWidth - picture.offsetWidth, first.offsetHeight - picture.offsetHeight];
      const width = tileWidth(this.numbers.length, room, this.aspect ?? 1, beside);
      if (width === last) return;
      this.element.style.setProperty("--dp-size", `${width}px`);
      last = width;
    }
  }
}

/** Returns how many tiles are side by side. */
function columns(tiles) {
  const top = tiles[0].offsetTop;
  const next = tiles.findIndex((tile) => tile.offsetTop !== top);
  return next < 0 ? tiles.length : next;
}
