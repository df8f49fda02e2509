// View of a board as elements. It knows nothing of ComfyUI.
import { make, set, write } from "./dom.js";
import { actionOf, moved } from "./keys.js";
import { order, takesMarks } from "./state.js";
import { Tile } from "./tile.js";
import { text } from "./texts.js";

/** Elements of one board. */
export class View {
  /**
   * `act(action, value)` is called with a user's actions: "copy", "pin", "discard" of a row, "go", "sort" by a name,
   * "word" with a name or null.
   */
  constructor(act) {
    this.act = act;
    this.tiles = new Map();
    this.numbers = [];
    this.status = make("span", "dp-status", { role: "status" });
    this.message = make("span", "dp-message", { role: "status" });
    this.about = make("bdi", "dp-about");
    this.sort = make("select", "dp-sort", { onchange: () => act("sort", this.sort.value) });
    this.words = make("div", "dp-words", { role: "group" });
    this.list = make("ul", "dp-tiles", { role: "list", onkeydown: (event) => this.#key(event) });
    this.list.addEventListener("focusin", ({ target }) => this.#focused(target.closest(".dp-tile")));
    this.reason = make("div", "dp-reason", { dir: "auto" });
    this.report = make("div", "dp-report", { dir: "auto", tabindex: 0 });
    this.summary = make("summary", "");
    this.details = make("details", "dp-details", {}, this.summary, this.report);
    this.go = make("button", "dp-go", { type: "button", onclick: () => act("go") });
    this.left = make("span", "dp-left", { "aria-hidden": "true" });
    this.held = make("div", "dp-held", { hidden: true }, this.go, this.left);
    this.element = make("section", "dp-board", {},
      make("header", "dp-head", {}, this.about, this.sort),
      this.status,
      this.words,
      this.held,
      this.list,
      this.reason,
      this.details,
      this.message,
    );
    this.#stopEvents();
    this.#name();
  }

  /** Shows a state of the node `title`. Returns how many tiles were made, changed and moved. */
  update(state, title) {
    set(this.element, "aria-label", text("board", { title }));
    const marks = takesMarks(state);
    const heat = state.word === null ? null : String(state.words.indexOf(state.word));
    const prompts = [...state.rows.values()].some(({ prompt }) => prompt > 1);
    const around = { marks, heat, prompts, line: state.line, scale: state.scale, count: state.rows.size };
    const done = { made: 0, changed: 0, moved: 0 };
    const focused = this.list.contains(document.activeElement) ? document.activeElement : null;
    this.numbers = order(state);
    for (const [number, tile] of this.tiles) {
      if (!state.rows.has(number)) {
        tile.element.remove();
        this.tiles.delete(number);
      }
    }
    this.numbers.forEach((number, index) => {
      let tile = this.tiles.get(number);
      if (!tile) {
        tile = new Tile(this.act);
        this.tiles.set(number, tile);
        done.made += 1;
      }
      done.changed += tile.update(state.rows.get(number), around);
      if (this.list.children[index] !== tile.element) {
        this.list.insertBefore(tile.element, this.list.children[index] ?? null);
        done.moved += 1;
      }
    });
    if (document.activeElement !== focused) focused?.focus({ preventScroll: true }); // an element that moves loses focus
    this.#head(state);
    this.#chips(state);
    if (!this.list.querySelector(".dp-tile[tabindex='0']")) this.#focused(this.list.firstElementChild);
    return done;
  }

  /** Shows a message for a moment, and has screen readers read it. */
  say(message) {
    write(this.message, message);
    clearTimeout(this.silence);
    this.silence = setTimeout(() => write(this.message, ""), 4000);
  }

  /** Stops the timers. */
  end() {
    clearInterval(this.clock);
    clearTimeout(this.silence);
  }

  #name() {
    set(this.list, "aria-label", text("candidates"));
    set(this.words, "aria-label", text("wordMap"));
    set(this.sort, "aria-label", text("sort"));
    for (const name of ["score", "seed"]) {
      this.sort.append(make("option", "", { value: name }, text(name === "score" ? "sortScore" : "sortSeed")));
    }
    write(this.go, text("goOn"));
    write(this.summary, text("report"));
  }

  #head(state) {
    const looked = [...state.rows.values()].filter(({ score }) => score !== null).length;
    const kept = [...state.rows.values()].filter((row) => row.kept).length;
    const counts = { looked, kept, count: state.rows.size + state.hidden };
    set(this.element, "data-state", state.state);
    set(this.element, "data-empty", String(state.rows.size === 0));
    write(this.about, state.label && `${state.label} · ${text(state.scale === "calibration" ? "onCalibration" : "inBatch")}`);
    const status = state.kind === "score" ? "scored" : state.state;
    write(this.status, state.rows.size ? text(status, counts) : text("empty"));
    write(this.report, state.report);
    set(this.details, "hidden", !state.report);
    const more = state.hidden ? text("hidden", { count: state.hidden }) : "";
    write(this.reason, [state.skilled ? "" : text("unskilled"), state.reason, more].filter(Boolean).join(" "));
    if (this.sort.value !== state.sort) this.sort.value = state.sort;
    this.#hold(state);
  }

  #hold({ state, seconds }) {
    const held = state === "held";
    set(this.held, "hidden", !held);
    if (held === (this.clock !== undefined) && (!held || seconds === this.seconds)) return;
    clearInterval(this.clock);
    this.clock = undefined;
    this.seconds = seconds;
    if (!held) return;
    const end = Date.now() + 1000 * seconds;
    const tick = () => write(this.left, text("left", { seconds: Math.max(0, Math.round((end - Date.now()) / 1000)) }));
    this.clock = setInterval(tick, 1000);
    tick();
  }

  #chips({ words, word }) {
    const key = JSON.stringify([words, word]);
    if (key === this.chips) return;
    this.chips = key;
    set(this.words, "hidden", words.length === 0);
    const chip = (name) =>
      make("button", "dp-chip", {
        type: "button",
        dir: "auto",
        title: name,
        "aria-pressed": String(name === word),
        onclick: () => this.act("word", name === word ? null : name),
      }, name);
    const at = [...this.words.children].indexOf(document.activeElement);
    this.words.replaceChildren(...words.map(chip));
    if (at >= 0) this.words.children[at]?.focus({ preventScroll: true });
  }

  #focused(element) {
    if (!element) return;
    for (const other of this.list.querySelectorAll(".dp-tile[tabindex='0']")) set(other, "tabindex", -1);
    set(element, "tabindex", 0);
  }

  #key(event) {
    const tile = event.target.closest(".dp-tile");
    if (!tile || event.target !== tile) return; // a button's own keys
    const tiles = [...this.list.children];
    const index = tiles.indexOf(tile);
    const to = moved(event.key, index, tiles.length, columns(tiles));
    const action = actionOf(event);
    if (to === null && action === null) return;
    event.preventDefault();
    if (to !== null) tiles[to].focus();
    else this.act(action, this.numbers[index]);
  }

  // The canvas below has keys and wheel of its own: Delete would delete the node.
  #stopEvents() {
    const stop = (event) => event.stopPropagation();
    this.element.addEventListener("keydown", (event) => {
      if (!event.ctrlKey && !event.metaKey) stop(event);
    });
    this.element.addEventListener("keyup", stop);
    this.element.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && this.list.scrollHeight > this.list.clientHeight) stop(event);
    }, { passive: true });
  }
}

/** Returns how many tiles are side by side. */
function columns(tiles) {
  const top = tiles[0].offsetTop;
  const next = tiles.findIndex((tile) => tile.offsetTop !== top);
  return next < 0 ? tiles.length : next;
}
