// Last run of a node: its board, what the page knows about it, and the store that keeps both.
import { readBoard } from "./events.js";
import { BOARD_OUTPUT } from "./schema.js";
import { nameOf } from "./seeds.js";
import { EMPTY, covers, ended, stopped, survivors, valuesOf } from "./state.js";

/**
 * Values about a run: the `time` of its end in milliseconds, null if unknown; the node's `settings`, see `settingsOf`, null if unknown;
 * whether a later run `failed`; `files` of finished images by row number; `after`, ids of the nodes that show images;
 * `source`, where the images are from.
 */
const UNKNOWN = { time: null, settings: null, failed: false, files: [], after: [], source: null };

/** Board of a node's last run. */
export class LastRun {
  /** `keyNow()` returns the key in the store. */
  constructor(host, store, keyNow) {
    Object.assign(this, { host, store, keyNow, state: EMPTY, about: UNKNOWN });
  }

  /** Shows a state; nothing is drawn here. */
  show(state) {
    this.state = state;
  }

  /** Shows the board that is kept, unless one is shown already. */
  async load() {
    const kept = await this.store.kept(this.keyNow());
    const board = readBoard(kept?.output?.[BOARD_OUTPUT]?.[0]);
    if (!board || this.state.rows.size > 0) return;
    const { from = [], ...about } = kept.about ?? {};
    this.about = { ...UNKNOWN, time: kept.time ?? null, ...about };
    const origins = new Map(from);
    const state = ended(this.state, board, reportOf(kept.output));
    const rows = new Map([...state.rows].map(([number, row]) => [number, origins.has(number) ? { ...row, from: origins.get(number) } : row]));
    const files = await this.#there(this.about.files);
    this.show({ ...state, rows, own: { ...state.own, rows }, images: this.#images(files) });
  }

  /** Returns the files that the server still has: those of previews go away with a restart. */
  async #there(files) {
    const [first] = files.filter(([, { type }]) => type !== "output");
    return !first || (await this.host.hasFile(first[1])) ? files : files.filter(([, { type }]) => type === "output");
  }

  #images(files) {
    const name = ({ subfolder, filename }) => (subfolder ? `${subfolder}/${filename}` : filename);
    return new Map(files.map(([number, file]) => [number, { url: this.host.fileUrl(file), name: name(file) }]));
  }

  /** Keeps the board as it is. */
  async keep() {
    const from = [...this.state.rows.values()].flatMap((row) => (row.from ? [[row.row, row.from]] : []));
    const output = { [BOARD_OUTPUT]: [valuesOf(this.state)], text: [this.state.report] };
    await this.store.keep(this.keyNow(), output, { ...this.about, from });
  }

  /**
   * Shows and keeps the board in the output of a run that is over. `run` is what is known of it, see `Runs`; `from` its
   * prompt and node. Returns whether there is a board.
   */
  async finish(output, run, from) {
    const board = readBoard(output?.[BOARD_OUTPUT]?.[0]);
    if (!board) return false;
    const files = board.adds ? this.about.files : [];
    this.about = { ...UNKNOWN, time: Date.now(), settings: run?.settings ?? null, after: run?.after ?? [], files };
    this.show(ended(this.state, board, reportOf(output), from));
    await this.keep();
    return true;
  }

  /** Shows the board in the output of an earlier run. */
  async showEarlier(output) {
    const board = readBoard(output?.[BOARD_OUTPUT]?.[0]);
    if (!board || this.state.address || covers(this.state, board)) return;
    const { after } = this.about;
    if (!board.adds) this.about = { ...UNKNOWN, after };
    this.show(ended(this.state, board, reportOf(output)));
    for (const [id, distance] of after) this.#attach(this.host.lastOutput(id)?.images, distance);
  }

  /** Shows and keeps the images of a node that shows the survivors of this run, if it does. */
  async addImages(images, distance) {
    if (this.#attach(images, distance)) await this.keep();
  }

  #attach(images, distance) {
    const kept = survivors(this.state);
    const files = Array.isArray(images) ? images.filter((file) => typeof file?.filename === "string") : [];
    if (kept.length === 0 || files.length !== kept.length) return false;
    const source = { saved: files.every(({ type }) => type === "output"), distance };
    if (!isBetter(source, this.about.source)) return false;
    const numbers = new Map([...this.state.rows.values()].map((row) => [nameOf(row), row.row]));
    const all = new Map(this.about.files);
    kept.forEach((row, index) => {
      const { filename, subfolder = "", type = "output" } = files[index];
      all.set(numbers.get(nameOf(row)), { filename, subfolder, type });
    });
    this.about = { ...this.about, source, files: [...all] };
    this.show({ ...this.state, images: this.#images(this.about.files) });
    return true;
  }

  /** Marks the board after a run that ended without one; `prompt` is that run, null if it was refused. */
  async fail(prompt) {
    if (prompt !== null && this.state.address?.prompt === prompt && this.state.base) {
      this.about = { ...this.about, failed: true };
      this.show(this.state.base); // the board that the run was to add to
      await this.keep();
    } else if (prompt !== null && this.state.address?.prompt === prompt) {
      this.about = { ...this.about, time: Date.now() };
      this.show(stopped(this.state));
      const kept = await this.store.kept(this.keyNow()); // of the run before
      if (kept) await this.store.keep(this.keyNow(), kept.output, { time: kept.time, ...kept.about, failed: true });
    } else if (this.state.rows.size > 0 && !this.state.address) {
      this.about = { ...this.about, failed: true };
      this.show({ ...this.state });
      await this.keep();
    }
  }

  /** Removes the board. */
  async dismiss() {
    const { sort, size } = this.state;
    this.about = UNKNOWN;
    this.show({ ...EMPTY, sort, size });
    await this.store.forget(this.keyNow());
  }
}

const reportOf = ({ text }) => (Array.isArray(text) ? text.join("\n") : "");

/** Returns whether images of a node are to take the place of those before: saved ones, those nearer, later ones. */
function isBetter(source, other) {
  if (!other || source.saved !== other.saved) return !other || source.saved;
  return source.distance <= other.distance;
}
