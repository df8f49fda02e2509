// View of a board as elements. It knows nothing of ComfyUI.
import { Compare } from "./compare.js";
import { button, make, set } from "./dom.js";
import { Foot } from "./foot.js";
import { Head } from "./head.js";
import { Large } from "./large.js";
import { Layer } from "./layer.js";
import { Menu } from "./menu.js";
import { Pictures } from "./pictures.js";
import { canPick, takesMarks } from "./state.js";
import { Tiles } from "./tiles.js";
import { seedText, text } from "./texts.js";

const NO_ANSWERS = { targets: () => [], picture: async () => null };

/** Elements of one board. */
export class View {
  /**
   * `act(action, value)` is called with a user's actions: "copy", "pin", "discard" and "around" of a row, "use" of
   * {row, target}, "useAll", "finish", "next", "go", "dismiss", "sort" by a name, "word" with a name or null, "size" of
   * tiles in px or null, "finishOne" (picks a row and goes on). `ask` answers with the `targets()` of a seed, as {id, title}, and a promise of the URL of the
   * large `picture(row)`, or of null.
   */
  constructor(act, ask = NO_ANSWERS) {
    this.act = act;
    this.ask = ask;
    const own = {
      open: (row) => this.large.open(row, this),
      chosen: () => this.say(text("chooseOther")),
      compare: (pair) => this.compare.open(pair, this),
      menu: (row, at) => this.#menu(row, at),
      go: (row) => (this.state.state === "held" || row === undefined ? act("go") : own.open(row)),
    };
    const handle = (action, value, at) => (own[action] ?? ((each) => act(action, each)))(value, at);
    const pictures = new Pictures(ask.picture);
    this.head = new Head(handle, () => this.#toggleFull());
    this.tiles = new Tiles(handle);
    this.foot = new Foot(handle);
    this.large = new Large(handle, pictures, (row) => this.tiles.focus(row));
    this.compare = new Compare(handle, pictures);
    this.menu = new Menu();
    this.element = make("section", "dp-board dp-ui", {}, ...this.head.elements, this.tiles.element, ...this.foot.elements);
    this.away = make("div", "dp-away dp-ui", {}, button("", () => this.full.end(), {}, text("toNode")));
    this.full = new Layer("dp-whole", () => this.#returned());
    this.#stopEvents();
  }

  /** Rows' numbers in the order in which they are shown. */
  get numbers() {
    return this.tiles.numbers;
  }

  /** Shows a state of the node `title`. Returns how many tiles were made, changed and moved. */
  update(state, title) {
    Object.assign(this, { state, around: aroundOf(state) });
    set(this.element, "aria-label", text("board", { title }));
    set(this.element, "data-state", state.state);
    set(this.element, "data-empty", String(state.rows.size === 0));
    set(this.element, "data-age", state.age?.failed ? "failed" : state.age?.other ? "other" : null);
    const done = this.tiles.update(state, this.around);
    this.head.update(state);
    this.foot.update(state);
    this.large.update(this);
    this.compare.update(this);
    return done;
  }

  /** Shows a message for a moment, and has screen readers read it. */
  say(message) {
    for (const each of [this.foot, this.large]) each.message.say(message);
  }

  /** Closes what is open over the page, and stops timers. */
  end() {
    for (const each of [this.menu, this.compare, this.large, this.full, this.head, this.tiles, this.foot.message]) each.end();
  }

  #menu(row, at) {
    const { seed } = this.state.rows.get(row);
    const items = [
      [text("copySeed"), () => this.act("copy", row)],
      ...this.ask.targets().map((target) => [
        text("useIn", { title: target.title }),
        () => this.act("use", { row, target: target.id }),
      ]),
    ];
    if (this.state.canSend.next) items.push([text("variations"), () => this.act("around", row)]);
    if (this.state.rows.size > 1 && !this.large.isOpen) items.push([text("compareWith"), () => this.tiles.choose(row)]);
    this.menu.open(at, seedText(seed), items);
  }

  #toggleFull() {
    if (this.full.isOpen) return this.full.end();
    this.element.replaceWith(this.away);
    this.full.element.firstElementChild.append(this.element);
    this.full.open(this.element.ariaLabel);
    this.head.setFull(true);
    this.head.full.focus({ preventScroll: true });
  }

  #returned() {
    this.away.replaceWith(this.element);
    this.head.setFull(false);
    this.head.full.focus({ preventScroll: true });
  }

  // The canvas below has keys and wheel of its own: Delete would delete the node.
  #stopEvents() {
    const stop = (event) => event.stopPropagation();
    this.element.addEventListener("keydown", (event) => {
      if (!event.ctrlKey && !event.metaKey) stop(event);
    });
    this.element.addEventListener("keyup", stop);
    this.element.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && this.#scrolls(event.target)) stop(event);
    }, { passive: true });
  }

  /** Returns whether something in the board scrolls under the pointer. */
  #scrolls(element) {
    for (let each = element; this.element.contains(each); each = each.parentElement) {
      if (each.scrollHeight > each.clientHeight && getComputedStyle(each).overflowY === "auto") return true;
    }
    return false;
  }
}

/** Returns the values of a board that all tiles need. */
function aroundOf(state) {
  const rows = [...state.rows.values()];
  return {
    marks: takesMarks(state) || canPick(state),
    over: state.address === null,
    choosing: state.chooses && state.state === "held",
    heat: state.word === null ? null : String(state.words.indexOf(state.word)),
    prompts: rows.some(({ prompt }) => prompt > 1),
    scored: rows.some(({ score }) => score !== null),
    line: state.line,
    scale: state.scale,
    count: state.rows.size,
  };
}
