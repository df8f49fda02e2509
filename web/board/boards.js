// Boards of all nodes: events of the server go to the right board, and runs are followed from the queue to their end.
import { Calls } from "./calls.js";
import { readEvent } from "./events.js";
import { LastRun } from "./last_run.js";
import { NodeBoard, settingsOf } from "./node_board.js";
import { Runs, reached } from "./runs.js";
import { BOARD_OUTPUT } from "./schema.js";
import { setTexts, text } from "./texts.js";

const NODES = new Set([
  "DiffusionProbeScore",
  "DiffusionProbeEarlySeedFilter",
  "DiffusionProbeSeedSearch",
  "DiffusionProbeSeedSearchCustom",
]);
const GONE = "DiffusionProbe.GoneSeconds";
const SOUND = "DiffusionProbe.Sound";
const TOAST = "DiffusionProbe.Toast";
const GONE_SECONDS = 30;
const MOST_SEEN = 64;

const SETTINGS = [
  {
    id: TOAST,
    category: ["Diffusion Probe", "Seed board", "Toast"],
    name: "Show a message when a seed board waits for a choice",
    type: "boolean",
    defaultValue: true,
  },
  {
    id: SOUND,
    category: ["Diffusion Probe", "Seed board", "Sound"],
    name: "Play a sound when a seed board waits for a choice",
    type: "boolean",
    defaultValue: false,
  },
  {
    id: GONE,
    category: ["Diffusion Probe", "Seed board", "GoneSeconds"],
    name: "Seconds that a waiting seed board goes on waiting after its page was closed",
    type: "number",
    defaultValue: GONE_SECONDS,
    attrs: { min: 1, max: 86400 },
  },
];

const sameIds = (some, others) => (some ?? []).join() === (others ?? []).join();

/** Starts the boards. `host` is the frontend (host.js) and `store` keeps boards (store.js); a test brings its own. */
export function startBoards(host, store) {
  return new Boards(host, store);
}

class Boards {
  constructor(host, store) {
    Object.assign(this, { host, store, runs: new Runs(store), boards: new WeakMap(), seen: new Map() });
    this.ready = Promise.all([host.texts(), host.sentences()]).then((all) => setTexts(...all), () => setTexts({}));
    this.turn = this.ready;
    this.elsewhere = Promise.resolve();
    const wants = (what) => host.setting(what === "sound" ? SOUND : TOAST) ?? what === "toast";
    this.calls = new Calls(host, (address) => this.#go(address), wants);
    host.extend("DiffusionProbe.SeedBoard", NODES, {
      opening: (graph) => host.separate(graph),
      created: (node) => this.#created(node),
      removed: (node) => this.#removed(node),
      loaded: (node) => this.#loaded(node),
      shown: (node, output) => this.#of(node)?.inTurn(() => this.#of(node).showEarlier(output)),
    }, SETTINGS);
    host.listen({
      board: (detail) => this.#inTurn(() => this.#receive(detail)),
      executed: (detail) => this.#inTurn(() => this.#executed(detail)),
      over: (detail, type) => this.#inTurn(() => this.#over(detail, type)),
      changed: () => this.#changed(),
      reconnected: () => this.#ask(),
    });
    host.watchQueue((...queued) => this.#queueing(...queued));
  }

  /** Handles what the server sends in the order in which it came. */
  #inTurn(handle) {
    this.turn = this.turn.then(handle).catch((error) => console.error("Diffusion Probe: the seed boards.", error));
  }

  #of(node) {
    return this.boards.get(node);
  }

  #all() {
    return this.host.nodesOf(NODES).flatMap((node) => this.#of(node) ?? []);
  }

  #created(node) {
    const queue = (targets, finish) => this.#queue(targets, finish);
    this.boards.set(node, new NodeBoard(this.host, this.store, node, { ready: this.ready, queue, stops: NODES }));
  }

  #removed(node) {
    this.#of(node)?.end();
  }

  #loaded(node) {
    this.#of(node)?.inTurn(() => this.#of(node).load());
    clearTimeout(this.loading);
    this.loading = setTimeout(() => this.#ask()); // once for all nodes, for the boards of a run in progress
  }

  /** Shows what depends on the nodes' settings, a moment after the user changed the workflow. */
  #changed() {
    clearTimeout(this.changing);
    this.changing = setTimeout(() => this.#all().forEach((board) => board.refresh()), 200);
  }

  /** Asks for the whole boards of runs in progress, and for the results of runs that ended while this page was away. */
  async #ask() {
    const secrets = this.store.knownSecrets();
    const answer = secrets.length ? await this.host.answer({ do: "boards", secrets }) : null;
    answer?.boards.forEach((detail) => this.#inTurn(() => this.#receive(detail)));
    for (const prompt of this.runs.unfinished()) {
      const past = await this.host.pastRun(prompt);
      if (!past) continue;
      const boardsFirst = ([, a], [, b]) => Number(BOARD_OUTPUT in b) - Number(BOARD_OUTPUT in a);
      for (const [node, output] of Object.entries(past.outputs).sort(boardsFirst)) {
        this.#inTurn(() => this.#executed({ node, output, prompt_id: prompt }));
      }
      this.#inTurn(() => this.#over({ prompt_id: prompt, executed: Object.keys(past.outputs) }, past.success ? "success" : "error"));
    }
  }

  /** Handles an event of the server about a board. */
  async #receive(detail) {
    const event = readEvent(detail);
    if (!event) return;
    const { address, board, secret } = event;
    if (secret) this.store.keepSecret(`${address.prompt}/${address.node}`, secret);
    this.#see(address);
    if (event.ask) this.#hello(address);
    this.#call(address, board);
    if (!board || !this.host.isHere(address.workflow)) return;
    const shown = this.#of(this.host.runningNode(address.display));
    const run = (await this.runs.get(address.prompt))?.nodes[address.display];
    shown?.inTurn(() => shown.receive(event, run, () => this.#ask()));
  }

  /** Remembers the workflow of a run, which another page may have queued. */
  #see({ prompt, workflow }) {
    this.seen.set(prompt, workflow);
    for (const old of [...this.seen.keys()].slice(0, -MOST_SEEN)) this.seen.delete(old);
  }

  /** Says that a board is open, so that the run waits for the user, if the user can get to it. */
  async #hello(address) {
    const { prompt, node, workflow, display } = address;
    const here = this.host.isHere(workflow);
    if (here ? !this.#of(this.host.runningNode(display)) : !(await this.host.isOpen(workflow))) return;
    const seconds = Number(this.host.setting(GONE) ?? GONE_SECONDS);
    const secret = this.store.secretOf(`${prompt}/${node}`);
    this.host.answer({ do: "hello", prompt_id: prompt, node_id: node, secret, gone_seconds: seconds });
  }

  /** Calls for the user while a board waits. */
  #call(address, board) {
    if (board?.state === "held") {
      this.calls.wait(address, board.seconds ?? 0, this.#titleOf(address));
    } else if (board?.state) {
      this.calls.end(address);
    }
  }

  #titleOf({ prompt, workflow, display }) {
    const node = this.host.isHere(workflow) ? this.host.runningNode(display) : null;
    return node ? this.host.titleOf(node) : (this.runs.known(prompt)?.nodes[display]?.title ?? text("aBoard"));
  }

  /** Brings the user to a board. */
  async #go({ workflow, display }) {
    const node = await this.host.goTo(workflow, display, BOARD_OUTPUT);
    for (let tries = 0; node && tries < 20 && !this.#of(node)?.focus(); tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, 150)); // a workflow that was just opened asks for its boards
    }
  }

  /** Follows a prompt that is about to be queued, and puts the names of the candidates to finish into it. */
  #queueing(prompt, workflow, targets) {
    const ours = this.expected && sameIds(targets, this.expected.targets) ? this.expected : null;
    if (ours) this.expected = null;
    if (ours?.finish) prompt[ours.finish.id].inputs.finish = ours.finish.names;
    const nodes = {};
    for (const [id, { class_type: kind }] of Object.entries(prompt)) {
      const node = NODES.has(kind) ? this.host.runningNode(id) : null;
      if (!node || (targets && !targets.includes(id))) continue;
      const after = reached(prompt, id, this.host.outputOfType(node, "LATENT"), NODES);
      nodes[id] = { key: this.host.keyOf(node), title: this.host.titleOf(node), settings: settingsOf(this.host, node), after };
    }
    const answered = this.runs.add({ workflow, nodes });
    return {
      queued: (id, errors) => {
        answered(id);
        ours?.resolve(true);
        for (const node of Object.keys(errors).filter((each) => nodes[each])) this.#fail(nodes[node].key, workflow, node, null);
      },
      refused: () => {
        answered();
        ours?.resolve(false);
        for (const node of Object.keys(nodes)) this.#fail(nodes[node].key, workflow, node, null);
      },
    };
  }

  /**
   * Queues a run, of some nodes only if `targets` names them. With `finish`, a node's `id` and `names`, that node finishes
   * candidates. Returns whether it was queued.
   */
  #queue(targets, finish) {
    return new Promise((resolve) => {
      this.expected = { targets, finish, resolve };
      this.host.queue(targets).catch(() => resolve(false)); // ComfyUI says what is wrong
    });
  }

  /** Handles the output of a node that ran: a board, or images of a board's survivors. */
  async #executed({ node, display_node: display = node, output, prompt_id: prompt }) {
    if (!output) return;
    const run = await this.runs.get(prompt);
    const workflow = run?.workflow ?? this.seen.get(prompt) ?? "";
    if (output[BOARD_OUTPUT]) {
      const from = { prompt, node: String(node) };
      const key = run?.nodes[display]?.key;
      this.calls.end(from);
      this.#with(key, workflow, display, (board) => board.finish(output, run?.nodes[display], from));
    }
    if (!output.images) return;
    for (const [id, { key, after }] of Object.entries(run?.nodes ?? {})) {
      const distance = after.find(([each]) => each === String(display))?.[1];
      if (distance !== undefined) this.#with(key, workflow, id, (board) => board.addImages(output.images, distance));
    }
  }

  /** Handles the end of a run. */
  async #over({ prompt_id: prompt, executed = [] }, type) {
    this.calls.end({ prompt });
    const run = await this.runs.get(prompt);
    this.runs.close(prompt);
    if (type === "success") return;
    for (const [id, { key }] of Object.entries(run?.nodes ?? {})) {
      if (!executed.includes(id)) this.#fail(key, run.workflow, id, prompt);
    }
    if (!run) this.#all().forEach((board) => board.inTurn(() => board.state.address?.prompt === prompt && board.fail(prompt)));
  }

  #fail(key, workflow, id, prompt) {
    return this.#with(key, workflow, id, (board) => board.fail(prompt));
  }

  /** Calls a function with the board of a node: the one on the page, or the kept one if the node isn't there. */
  #with(key, workflow, id, handle) {
    const shown = this.host.isHere(workflow) ? this.#of(this.host.runningNode(id)) : null;
    if (shown) return shown.inTurn(() => handle(shown));
    if (!key) return undefined;
    this.elsewhere = this.elsewhere.then(async () => {
      const board = new LastRun(this.host, this.store, () => key);
      await board.load();
      await handle(board);
    }).catch((error) => console.error("Diffusion Probe: a kept seed board.", error));
    return this.elsewhere;
  }
}
