// Board of one node in the open workflow: its view, and what a user does with it.
import { make } from "./dom.js";
import { LastRun } from "./last_run.js";
import { reached } from "./runs.js";
import { BOARD_OUTPUT } from "./schema.js";
import { asNumber, isPlain, nameOf, seedsFrom } from "./seeds.js";
import { canMark, canPick, marked, picks, received, takesMarks } from "./state.js";
import { text } from "./texts.js";
import { View } from "./view.js";

const HEIGHT = 260;

/** Inputs that say which candidates a run has, which its board names; all others are the settings of a run. */
const WHICH = ["seed", "seeds", "control_after_generate", "finish", "around", "strength"];

/** Settings that decide how many candidates there are and which are finished, and change no image. */
const DECIDING = [
  "probe", "judge", "candidates", "survivors", "budget", "policy", "target", "cut", "max_rows", "unskilled_scores",
  "hold_for_me", "hold_seconds",
];

/** Returns digests of a node's settings, to compare: of `all`, and of those that change an `image`. */
export const settingsOf = (host, node) => ({
  all: digest(host.settingsOf(node, new Set(WHICH))),
  image: digest(host.settingsOf(node, new Set([...WHICH, ...DECIDING]))),
});

/** Returns a short text that differs for different texts: two FNV-1a sums of 32 bits, one of them backwards. */
function digest(text) {
  let [sum, back] = [0x811c9dc5, 0x811c9dc5];
  for (let at = 0; at < text.length; at += 1) {
    sum = Math.imul(sum ^ text.charCodeAt(at), 0x01000193);
    back = Math.imul(back ^ text.charCodeAt(text.length - 1 - at), 0x01000193);
  }
  return [text.length, sum >>> 0, back >>> 0].join("-");
}

export class NodeBoard extends LastRun {
  /**
   * `ready` is a promise of the texts; nothing is shown before. `queue(targets, finish)` queues a run, see `Boards`.
   * `stops` are the classes of nodes with boards of their own.
   */
  constructor(host, store, node, { ready, queue, stops }) {
    super(host, store, () => host.keyOf(node));
    Object.assign(this, { node, queue, stops });
    this.state = { ...this.state, size: store.size() ?? this.state.size };
    const root = make("div", "dp-root");
    host.hideImages(node);
    host.addElement(node, BOARD_OUTPUT, root, HEIGHT, { fills: true });
    this.turn = ready.then(() => {
      const ask = { targets: () => host.seedNodes(), picture: (row) => this.picture(row) };
      this.view = new View((action, value) => this.act(action, value), ask);
      root.append(this.view.element);
      this.view.update(this.state, host.titleOf(node));
    });
  }

  /** Calls a function after all earlier ones have ended, so that events are handled in their order. */
  inTurn(handle) {
    this.turn = this.turn.then(handle).catch((error) => console.error("Diffusion Probe: the seed board.", error));
    return this.turn;
  }

  /** Shows a state. */
  show(state) {
    const [age, canSend, around] = [this.#age(state), this.#sends(state), String(this.host.valueOf(this.node, "around") ?? "")];
    const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
    if (state === this.state && same([age, canSend, around], [state.age, state.canSend, state.around])) return;
    this.state = { ...state, age, canSend, around };
    this.view?.update(this.state, this.host.titleOf(this.node));
  }

  /** Shows what depends on the node's settings. */
  refresh() {
    if (this.state.rows.size > 0) this.show(this.state);
  }

  #age(state) {
    const { time, settings, failed } = this.about;
    if (state.address || state.rows.size === 0) return null;
    const other = settings !== null && settings.all !== settingsOf(this.host, this.node).all;
    return time === null && !other && !failed ? null : { time, other, failed };
  }

  /** Returns which runs a board can start. */
  #sends(state) {
    const over = canPick(state);
    return { next: over && isPlain(state.next_seed), finish: over && this.host.hasInput(this.node, "finish") };
  }

  /** Gives the keyboard to the board, to the tile that Tab stops at. Returns whether there is one. */
  focus() {
    const tile = this.view?.element.querySelector(".dp-tile[tabindex='0']");
    tile?.focus({ preventScroll: true });
    return Boolean(tile) && document.activeElement === tile;
  }

  /** Stops the board's timers after the node is removed. */
  end() {
    this.view?.end();
  }

  /** Shows an event of the server; calls `ask` for the whole board if an event was missed. `run`: see `Runs`. */
  receive(event, run, ask) {
    const before = this.state.address?.prompt;
    const state = received(this.state, event);
    if (!state) return ask();
    if (state.address.prompt !== before) {
      const files = state.base ? this.about.files : [];
      this.about = { ...this.about, settings: run?.settings ?? null, after: run?.after ?? [], files, failed: false, source: null };
    }
    return this.show(state);
  }

  /** Sends an answer to a run. */
  send({ prompt, node }, body) {
    const secret = this.store.secretOf(`${prompt}/${node}`);
    return this.host.answer({ ...body, prompt_id: prompt, node_id: node, secret });
  }

  /** Returns a larger picture of a row as an address, null if the server has none any more. */
  async picture(number) {
    const from = this.state.rows.get(number)?.from;
    const answer = from && (await this.send(from, { do: "picture", row: from.row }));
    const picture = answer?.picture;
    return typeof picture === "string" && picture.startsWith("data:image/") ? picture : null;
  }

  /** Carries out a user's action; see View. */
  act(action, value) {
    const actions = {
      sort: () => this.show({ ...this.state, sort: value }),
      word: () => this.show({ ...this.state, word: value }),
      size: () => this.#size(value),
      copy: () => this.#copy(value),
      go: () => this.#go(),
      finishOne: () => this.#finishOne(value),
      pin: () => this.#mark("pinned", value),
      discard: () => this.#mark("discarded", value),
      finish: () => this.#finish(),
      next: () => this.#next(),
      around: () => this.#around(value),
      use: () => this.#use(value),
      useAll: () => this.#useAll(),
      dismiss: () => this.#dismiss(),
    };
    return actions[action]?.();
  }

  /** Removes the board, also from the output that ComfyUI shows again when the workflow's tab is opened again. */
  #dismiss() {
    this.host.forgetOutput(this.node, BOARD_OUTPUT);
    return this.dismiss();
  }

  #say(name, values) {
    this.view.say(text(name, values));
  }

  #size(pixels) {
    this.store.keepSize(pixels);
    this.show({ ...this.state, size: pixels });
  }

  async #copy(number) {
    const { seed } = this.state.rows.get(number);
    try {
      await navigator.clipboard.writeText(seed);
      this.#say("copied", { seed });
    } catch {
      this.#say("notCopied", { seed });
    }
  }

  async #go() {
    if (this.state.state === "held") await this.#answer({ do: "go" });
  }

  /** Picks a candidate of a run that waits for a choice, and goes on. */
  async #finishOne(number) {
    if (this.state.rows.get(number)?.mark !== "pinned") await this.#mark("pinned", number);
    if (this.state.rows.get(number)?.mark === "pinned") await this.#go();
  }

  async #mark(wanted, number) {
    const row = this.state.rows.get(number);
    if (!row || !canMark(this.state, row)) {
      this.#say(row?.finished && canPick(this.state) ? "isFinished" : row?.gone && takesMarks(this.state) ? "gone" : "marksNeedHold");
      return;
    }
    const mark = row.mark === wanted ? null : wanted;
    const action = { pinned: "pin", discarded: "discard" }[mark] ?? "clear";
    if (takesMarks(this.state) && !(await this.#answer({ do: action, row: number }))) return;
    this.show(marked(this.state, number, mark));
    if (!takesMarks(this.state)) this.keep();
    this.view.say(`${text(mark ?? "unmarked", { seed: row.seed })}: ${row.seed}`);
  }

  async #answer(body) {
    const accepted = await this.send(this.state.address, body);
    if (!accepted) this.#say("notOpen");
    return accepted;
  }

  /** Queues a run that finishes the picked candidates, of which nothing stays in the workflow. */
  async #finish() {
    const chosen = picks(this.state).filter((row) => !row.finished);
    if (!canPick(this.state) || chosen.length === 0) return this.#say("pickFirst");
    const { settings } = this.about;
    if (settings && settings.image !== settingsOf(this.host, this.node).image) return this.#say("otherSettings");
    const prompt = await this.host.promptNow();
    const ids = this.host.idsOf(this.node);
    const id = ids.find((each) => each === chosen[0].from?.node) ?? ids.find((each) => prompt[each]);
    if (!prompt[id]) return this.#say("nodeOff");
    if (!this.host.hasInput(this.node, "finish")) return this.#say("noFinish");
    if (Array.isArray(prompt[id].inputs.finish)) return this.#say("linked", { name: "finish" });
    const after = reached(prompt, id, this.host.outputOfType(this.node, "LATENT"), this.stops);
    const names = chosen.map(nameOf).join(", ");
    const sent = await this.queue([id, ...after.map(([each]) => each)], { id, names });
    return this.#say(sent ? "finishing" : "notQueued", { count: chosen.length });
  }

  /** Queues a run of the seeds after those of this board. */
  async #next() {
    const first = this.state.next_seed;
    if (!isPlain(first)) return this.#say("noNext");
    const number = asNumber(first);
    const set = number !== null && this.host.setValues(this.node, { seed: number, seeds: "" });
    if (!set && !this.host.setValues(this.node, { seeds: seedsFrom(first, this.#count()).join(", ") })) {
      return this.#say("linked", { name: "seeds" });
    }
    return this.#run(this.state.around ? "nextAround" : "nextQueued", { seed: first, around: this.state.around });
  }

  /** Returns how many seeds the next run has: the node's input, or as many as this board if another node decides it. */
  #count() {
    const seeds = new Set([...this.state.rows.values()].map(({ seed }) => seed));
    const count = Number(this.host.valueOf(this.node, "candidates"));
    return Number.isInteger(count) && count > 0 ? count : Math.max(1, seeds.size + this.state.hidden);
  }

  /** Queues a run of variations of a row's seed; without a row, later runs draw seeds of their own again. */
  async #around(number) {
    const seed = number === null ? "" : this.state.rows.get(number)?.seed;
    if (seed === undefined) return undefined;
    if (!this.host.hasInput(this.node, "around")) return this.#say("noFinish");
    if (!this.host.setValues(this.node, { around: seed })) return this.#say("linked", { name: "around" });
    this.show({ ...this.state });
    return seed ? this.#run("varying", { seed }) : this.#say("notVarying");
  }

  async #run(name, values) {
    const targets = this.host.changesSeedsBefore() ? Object.keys(await this.host.promptNow()) : null;
    return this.#say((await this.queue(targets)) ? name : "notQueued", values);
  }

  /** Writes a row's seed into another node. */
  #use({ row: number, target }) {
    const { seed } = this.state.rows.get(number) ?? {};
    if (seed === undefined) return undefined;
    const value = asNumber(seed);
    if (value === null) return this.#say(isPlain(seed) ? "tooLarge" : "notPlain", { seed });
    const title = this.host.setSeed(target, value);
    return this.#say(title === null ? "noTarget" : "used", { seed, title });
  }

  /** Writes the picked seeds into the node's list. */
  #useAll() {
    const seeds = [...new Set(picks(this.state).map(({ seed }) => seed))];
    if (seeds.length === 0) return this.#say("pickFirst");
    const set = this.host.hasInput(this.node, "seeds") && this.host.setValues(this.node, { seeds: seeds.join(", ") });
    return this.#say(set ? "usedAll" : "linked", { name: "seeds", count: seeds.length });
  }
}
