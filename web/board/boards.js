// The boards of all nodes: what comes from the server goes to the right one, what users do goes back.
import { make } from "./dom.js";
import { readBoard, readEvent } from "./events.js";
import { EMPTY, ended, marked, received, takesMarks } from "./state.js";
import { setTexts, text } from "./texts.js";
import { View } from "./view.js";

const NODES = new Set(["DiffusionProbeScore", "DiffusionProbeEarlySeedFilter", "DiffusionProbeSeedSearch"]);
const NAME = "diffusion_probe_board";
const HEIGHT = 260;

/** Starts the boards. `host` is the frontend (host.js) and `store` what keeps boards (store.js), or a test's own. */
export function startBoards(host, store) {
  const boards = new WeakMap();
  const ready = host.texts().then(setTexts, () => setTexts({}));
  let loading;
  host.extend("DiffusionProbe.SeedBoard", NODES, {
    created: (node) => boards.set(node, new NodeBoard(host, store, node, ready)),
    removed: (node) => boards.get(node)?.end(),
    loaded: (node) => {
      boards.get(node)?.load();
      clearTimeout(loading);
      loading = setTimeout(ask); // once for all nodes: what a run that still goes on has told so far
    },
    executed: (node, output) => boards.get(node)?.executed(output),
  });
  const told = async (detail) => {
    await ready; // in the order in which they came
    const event = readEvent(detail);
    if (!event) return;
    if (event.secret) store.keepSecret(keyOf(event.place), event.secret);
    if (event.place.workflow && event.place.workflow !== host.workflowId()) return;
    boards.get(host.runningNode(event.place.display))?.told(event, ask);
  };
  const ask = async () => {
    const secrets = store.knownSecrets();
    if (secrets.length) (await host.answer({ do: "boards", secrets }))?.forEach(told);
  };
  host.listen(told, ask);
}

/** What tells a board from others. */
const keyOf = (place) => `${place.prompt}/${place.node}`;

class NodeBoard {
  /** `ready`: a promise of the texts; nothing is shown before. */
  constructor(host, store, node, ready) {
    Object.assign(this, { host, store, node, ready, state: EMPTY });
    const root = make("div", "dp-root");
    host.hideImages(node);
    host.addElement(node, NAME, root, HEIGHT);
    ready.then(() => {
      this.view = new View((action, value) => this.act(action, value));
      root.append(this.view.element);
      this.view.update(this.state, this.host.titleOf(this.node));
    });
  }

  show(state) {
    if (state === this.state) return;
    this.state = state;
    this.view.update(state, this.host.titleOf(this.node));
  }

  /** Stops what would go on without the node. */
  end() {
    this.view?.end();
  }

  /** What was kept of its last run, unless it has one already; and of a run that still goes on. */
  async load() {
    const output = await this.store.kept(this.host.keyOf(this.node));
    await this.ready;
    if (this.state.rows.size === 0) this.showLast(output);
  }

  async executed(output) {
    await this.ready;
    if (this.showLast(output)) this.store.keep(this.host.keyOf(this.node), { [NAME]: output[NAME], text: output.text });
  }

  /** Shows what a node leaves when it has run; whether that is a board. */
  showLast(output) {
    const board = readBoard(output?.[NAME]?.[0]);
    if (!board) return false;
    this.show(ended(this.state, board, Array.isArray(output.text) ? output.text.join("\n") : ""));
    return true;
  }

  told(event, ask) {
    if (event.ask) this.send(event.place, { do: "hello" });
    if (!event.board) return;
    const state = received(this.state, event);
    if (state) this.show(state);
    else ask();
  }

  send(place, body) {
    const secret = this.store.secretOf(keyOf(place));
    return this.host.answer({ ...body, prompt_id: place.prompt, node_id: place.node, secret });
  }

  async act(action, value) {
    if (action === "sort") this.show({ ...this.state, sort: value });
    else if (action === "word") this.show({ ...this.state, word: value });
    else if (action === "copy") await this.copy(value);
    else if (action === "go") await this.go();
    else await this.mark(action, value);
  }

  async copy(number) {
    const { seed } = this.state.rows.get(number);
    try {
      await navigator.clipboard.writeText(seed);
      this.view.say(text("copied", { seed }));
    } catch {
      this.view.say(text("notCopied", { seed }));
    }
  }

  async go() {
    if (this.state.state === "held") await this.answer({ do: "go" });
  }

  async mark(action, number) {
    const row = this.state.rows.get(number);
    if (!row || !takesMarks(this.state) || row.gone) {
      this.view.say(text(row?.gone && takesMarks(this.state) ? "gone" : "marksNeedHold"));
      return;
    }
    const wanted = { pin: "pinned", discard: "discarded" }[action];
    const mark = row.mark === wanted ? null : wanted;
    if (!(await this.answer({ do: mark ? action : "clear", row: number }))) return;
    this.show(marked(this.state, number, mark));
    this.view.say(text(mark ?? "unmarked", { seed: row.seed }) + `: ${row.seed}`);
  }

  async answer(body) {
    const taken = await this.send(this.state.place, body);
    if (!taken) this.view.say(text("notOpen"));
    return taken;
  }
}
