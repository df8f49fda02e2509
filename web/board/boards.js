// Boards of all nodes: events of the server go to the right board, and users' actions go back.
import { make } from "./dom.js";
import { readBoard, readEvent } from "./events.js";
import { BOARD_OUTPUT } from "./schema.js";
import { EMPTY, ended, marked, received, takesMarks } from "./state.js";
import { setTexts, text } from "./texts.js";
import { View } from "./view.js";

const NODES = new Set(["DiffusionProbeScore", "DiffusionProbeEarlySeedFilter", "DiffusionProbeSeedSearch"]);
const HEIGHT = 260;

/** Starts the boards. `host` is the frontend (host.js) and `store` keeps boards (store.js); a test brings its own. */
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
      loading = setTimeout(ask); // once for all nodes, for the boards of a run in progress
    },
    executed: (node, output) => boards.get(node)?.executed(output),
  });
  const receive = async (detail) => {
    await ready; // in the order in which they came
    const event = readEvent(detail);
    if (!event) return;
    if (event.secret) store.keepSecret(keyOf(event.address), event.secret);
    if (event.address.workflow && event.address.workflow !== host.workflowId()) return;
    boards.get(host.runningNode(event.address.display))?.receive(event, ask);
  };
  const ask = async () => {
    const secrets = store.knownSecrets();
    if (secrets.length) (await host.answer({ do: "boards", secrets }))?.forEach(receive);
  };
  host.listen(receive, ask);
}

/** Returns a key of a board that is unique among all boards. */
const keyOf = (address) => `${address.prompt}/${address.node}`;

/** Board of one node. */
class NodeBoard {
  /** `ready` is a promise of the texts; nothing is shown before. */
  constructor(host, store, node, ready) {
    Object.assign(this, { host, store, node, ready, state: EMPTY });
    const root = make("div", "dp-root");
    host.hideImages(node);
    host.addElement(node, BOARD_OUTPUT, root, HEIGHT);
    ready.then(() => {
      this.view = new View((action, value) => this.act(action, value));
      root.append(this.view.element);
      this.view.update(this.state, this.host.titleOf(this.node));
    });
  }

  /** Shows a state. */
  show(state) {
    if (state === this.state) return;
    this.state = state;
    this.view.update(state, this.host.titleOf(this.node));
  }

  /** Stops the board's timers after the node is removed. */
  end() {
    this.view?.end();
  }

  /** Shows the board of the node's last run that was kept, unless one is shown already. */
  async load() {
    const output = await this.store.kept(this.host.keyOf(this.node));
    await this.ready;
    if (this.state.rows.size === 0) this.showLast(output);
  }

  /** Shows and keeps the board that a node leaves after a run. */
  async executed(output) {
    await this.ready;
    if (!this.showLast(output)) return;
    const { [BOARD_OUTPUT]: board, text: report } = output;
    this.store.keep(this.host.keyOf(this.node), { [BOARD_OUTPUT]: board, text: report });
  }

  /** Shows the board in a node's output; returns whether there is one. */
  showLast(output) {
    const board = readBoard(output?.[BOARD_OUTPUT]?.[0]);
    if (!board) return false;
    this.show(ended(this.state, board, Array.isArray(output.text) ? output.text.join("\n") : ""));
    return true;
  }

  /** Handles an event of the server; calls `ask` for the whole board if an event was missed. */
  receive(event, ask) {
    if (event.ask) this.send(event.address, { do: "hello" });
    if (!event.board) return;
    const state = received(this.state, event);
    if (state) this.show(state);
    else ask();
  }

  /** Sends an answer to the board's run. */
  send(address, body) {
    const secret = this.store.secretOf(keyOf(address));
    return this.host.answer({ ...body, prompt_id: address.prompt, node_id: address.node, secret });
  }

  /** Carries out a user's action; see View. */
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
    const accepted = await this.send(this.state.address, body);
    if (!accepted) this.view.say(text("notOpen"));
    return accepted;
  }
}
