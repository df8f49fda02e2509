// Head of a board: what its scores are, its progress, its prompt, the words of its maps, and its tiles' order and size.
import { Clock } from "./clock.js";
import { button, icon, label, make, set, write } from "./dom.js";
import { picks } from "./state.js";
import { agoText, text, timeText } from "./texts.js";
import { Words } from "./words.js";

const SORTS = ["rank", "score", "seed"];
const STATUS = { running: "running", held: "running", done: "done", stopped: "stopped" }; // names of texts
const STATUS_CHOOSE = { running: "runningChoose", held: "runningChoose", done: "doneChoose", stopped: "stoppedChoose" };
const HELD = { search: "keptNow", filter: "done" };
const SIZES = { min: 64, max: 512, step: 8 };

/** Elements above the tiles. */
export class Head {
  /** `act(action, value)` as of View; `full()` is called for the whole page. */
  constructor(act, full) {
    this.about = make("bdi", "dp-about");
    this.sort = make("select", "dp-sort", { onchange: () => act("sort", this.sort.value) });
    this.sorts = SORTS.map((value) => make("option", "", { value }));
    this.sort.append(...this.sorts);
    this.size = make("input", "dp-size", { type: "range", ...SIZES, oninput: () => act("size", Number(this.size.value)) });
    this.fit = button("dp-icons dp-fit", () => act("size", null), {}, icon("fit"));
    this.full = button("dp-icons dp-full", full, {}, icon("full"));
    this.status = make("span", "dp-status", { role: "status" });
    this.time = make("span", "dp-time");
    this.age = make("span", "dp-age-text");
    this.dismiss = button("dp-icons", () => act("dismiss"), {}, icon("close"));
    this.last = make("span", "dp-faint");
    this.old = make("div", "dp-age", { hidden: true }, this.age, this.dismiss);
    this.promptTitle = make("span", "dp-faint");
    this.promptLine = make("bdi", "dp-prompt-line");
    this.prompts = make("div", "dp-prompts", { tabindex: 0 });
    this.prompt = make("details", "dp-prompt", {},
      make("summary", "", {}, this.promptTitle, " ", this.promptLine),
      this.prompts,
    );
    this.words = new Words((word) => act("word", word));
    this.ask = make("span", "dp-ask");
    this.go = button("dp-main dp-go", () => act("go"));
    this.left = make("span", "dp-left", { "aria-hidden": "true" });
    this.held = make("div", "dp-held", { hidden: true }, this.ask, this.go, this.left);
    this.clock = new Clock(() => this.#times());
    this.elements = [
      make("header", "dp-head", {}, this.status, this.sort, this.size, this.fit, this.full),
      make("div", "dp-progress", {}, this.about, this.time, this.last),
      this.old,
      this.prompt,
      this.words.element,
      this.held,
    ];
    this.#name();
  }

  /** Shows a state. */
  update(state) {
    this.state = state;
    write(this.about, state.label && text("higher", { label: state.label }));
    set(this.about, "title", state.label ? text(state.scale === "calibration" ? "onCalibration" : "inBatch") : null);
    write(this.status, statusText(state));
    this.#order(state);
    this.#prompt(state);
    this.words.update(state);
    this.#held(state);
    this.#age(state);
    this.clock.start(state);
    this.#times();
  }

  /** Shows whether the board has the whole page. */
  setFull(isFull) {
    this.full.replaceChildren(icon(isFull ? "back" : "full"));
    label(this.full, text(isFull ? "toNode" : "fullPage"));
  }

  /** Stops the clock. */
  end() {
    this.clock.stop();
  }

  #name() {
    label(this.sort, text("sort"));
    label(this.size, text("tileSize"));
    label(this.fit, text("fit"));
    label(this.dismiss, text("dismiss"));
    write(this.promptTitle, text("promptTitle"));
    this.setFull(false);
  }

  #order({ sort, size, rows }) {
    const scored = [...rows.values()].some(({ score }) => score !== null);
    const names = { rank: scored ? "sortRank" : "sortNone", score: "sortScore", seed: "sortSeed" };
    for (const option of this.sorts) {
      write(option, text(names[option.value]));
      set(option, "hidden", option.value === "score" && !scored);
    }
    if (this.sort.value !== sort) this.sort.value = sort;
    if (size && Number(this.size.value) !== size) this.size.value = size;
    set(this.fit, "aria-pressed", String(!size));
  }

  #prompt({ prompts }) {
    const key = JSON.stringify(prompts);
    if (key === this.promptKey) return;
    this.promptKey = key;
    set(this.prompt, "hidden", prompts.length === 0);
    const lines = prompts.map((each, index) => (prompts.length > 1 ? `${index + 1}: ${each}` : each));
    write(this.promptLine, lines.join(" · "));
    this.prompts.replaceChildren(...lines.map((line) => make("div", "", { dir: "auto" }, line)));
  }

  #held(state) {
    const held = state.state === "held";
    set(this.held, "hidden", !held);
    const count = picks(state).length;
    write(this.ask, text(state.chooses ? "heldChoose" : "held"));
    write(this.go, state.chooses ? text("finishCount", { count }) : text("goOn"));
    set(this.go, "disabled", state.chooses && count === 0);
  }

  #age({ age }) {
    set(this.old, "hidden", !age?.failed && !age?.other);
    set(this.old, "data-kind", age?.failed ? "failed" : "other");
  }

  #times() {
    const { state, clock } = this;
    write(this.time, timesText(state, clock.passed));
    if (state.state === "held") {
      write(this.left, text("left", { time: timeText(state.seconds - clock.passed) }));
    }
    const { failed, other, time } = state.age ?? {};
    const ago = time && agoText((Date.now() - time) / 1000);
    write(this.last, ago && !failed && !other ? text("age", { ago }) : "");
    const names = failed ? ["ageFailed", "ageFailedNoTime"] : ["ageOther", "ageOtherNoTime"];
    write(this.age, text(names[ago ? 0 : 1], { ago }));
  }
}

/** Returns the progress of a board in one sentence. */
function statusText(state) {
  const rows = [...state.rows.values()];
  if (rows.length === 0) return text("empty");
  const looked = rows.filter(({ score, at }) => (state.chooses ? at : score) !== null).length;
  const kept = rows.filter((row) => row.kept).length;
  const counts = { looked, kept, count: rows.length + state.hidden };
  if (state.kind === "score") return text("scored", counts);
  if (!state.chooses) return text(state.state === "held" ? HELD[state.kind] : STATUS[state.state], counts);
  if (state.state === "done" && kept === 0) return text("nonePicked");
  return text(STATUS_CHOOSE[state.state], counts);
}

/** Returns what a run took so far and may take still, or took in all; `passed` seconds after the last event. */
function timesText(state, passed) {
  const { elapsed, left, all_seconds: all, rows, hidden } = state;
  if (!(elapsed > 0)) return "";
  if (state.state === "running" && state.address) {
    const values = { elapsed: timeText(elapsed + passed), left: timeText(Math.max(1, (left ?? 0) - passed)) };
    return text(left === null ? "elapsed" : "elapsedLeft", values);
  }
  if (state.state !== "done" || state.kind !== "search") return text("elapsed", { elapsed: timeText(elapsed) });
  const finished = [...rows.values()].filter((row) => row.finished).length;
  const values = { count: rows.size + hidden, finished, elapsed: timeText(elapsed), all: timeText(all ?? 0) };
  if (state.adds) return text("tookAdding", values);
  if (all === null || finished === 0) return text("took", values);
  return text(all > elapsed ? "saved" : "notSaved", values);
}
