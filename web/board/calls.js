// Calls for a user when a board waits for a choice: a toast, the tab's title, a sound, and the time left at the node.
import { button, icon, label, make, write } from "./dom.js";
import { text } from "./texts.js";

const VOLUME = 0.08;
const TONES = [[660, 0], [880, 0.18]]; // Hertz, and seconds after the start
const LENGTH = 0.35;

/** Returns a time in seconds as minutes and seconds: 4:07. */
export const clock = (seconds) => {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
};

/** Calls of all boards that wait. */
export class Calls {
  /**
   * `host` is the frontend. `go(address)` shows a board. `wants(name)` tells whether the user wants a "sound" or a
   * "toast".
   */
  constructor(host, go, wants) {
    Object.assign(this, { host, go, wants });
    this.waiting = new Map();
    this.title = new TitleMark();
    this.toasts = make("div", "dp-calls");
  }

  /** Calls for the board of a run, which waits `seconds` more; of a call that goes on, only the time is new. */
  wait(address, seconds, name) {
    const key = keyOf(address);
    const end = Date.now() + 1000 * seconds;
    if (this.waiting.has(key)) {
      this.waiting.get(key).end = end;
      return;
    }
    const call = { address, end, pill: this.#pill(address), toast: this.wants("toast") ? this.#toast(address, name) : null };
    this.waiting.set(key, call);
    document.body.append(call.pill, this.toasts);
    if (call.toast) this.toasts.append(call.toast);
    if (this.wants("sound")) playTones();
    this.clock ??= setInterval(() => this.#tick(), 500);
    this.#tick();
    this.#follow();
  }

  /** Ends the call for the board of a run; without a node, for all boards of the run. */
  end({ prompt, node }) {
    for (const [key, { address, pill, toast }] of this.waiting) {
      if (address.prompt !== prompt || (node !== undefined && address.node !== node)) continue;
      pill.remove();
      toast?.remove();
      this.waiting.delete(key);
    }
    if (this.waiting.size > 0) return;
    clearInterval(this.clock);
    this.clock = undefined;
    this.title.show("");
  }

  #tick() {
    const times = [...this.waiting.values()].map((call) => [call, clock((call.end - Date.now()) / 1000)]);
    for (const [{ pill, toast }, left] of times) {
      write(pill, `★ ${left}`);
      if (toast) write(toast.querySelector(".dp-call-left"), left);
    }
    if (times.length) this.title.show(text("callTitle", { left: times[0][1] }));
  }

  /** Keeps the times at their nodes while the user moves the canvas. */
  #follow() {
    for (const { address, pill } of this.waiting.values()) {
      const corner = this.host.isHere(address.workflow) ? this.host.cornerOf(address.display) : null;
      pill.hidden = corner === null;
      if (corner) pill.style.transform = `translate(${corner.x}px, ${corner.y}px) translate(-100%, 0)`;
    }
    if (this.waiting.size > 0) requestAnimationFrame(() => this.#follow());
  }

  #pill(address) {
    return button("dp-pill", () => this.go(address), { title: text("callGo"), hidden: true });
  }

  #toast(address, name) {
    const go = () => {
      toast.remove();
      this.go(address);
    };
    const close = button("dp-call-close", () => toast.remove(), {}, icon("close"));
    label(close, text("close"));
    const toast = make("div", "dp-call", { role: "alert" },
      make("b", "dp-call-name", { dir: "auto" }, text("callName", { name })),
      make("span", "dp-call-left", { "aria-hidden": "true" }),
      button("dp-call-go", go, {}, text("callGo")),
      close,
    );
    return toast;
  }
}

const keyOf = ({ prompt, node }) => `${prompt}/${node}`;

/** Text before the title of the browser's tab, which stays when ComfyUI writes another title. */
class TitleMark {
  constructor() {
    this.mark = "";
    this.observer = new MutationObserver(() => this.#write());
  }

  /** Shows a text before the title, or none. */
  show(mark) {
    if (mark === this.mark) return;
    const title = this.#without();
    if (!this.mark) this.observer.observe(document.head, { childList: true, characterData: true, subtree: true });
    this.mark = mark;
    if (!mark) this.observer.disconnect();
    document.title = mark ? `${mark} · ${title}` : title;
  }

  #without() {
    const start = `${this.mark} · `;
    return this.mark && document.title.startsWith(start) ? document.title.slice(start.length) : document.title;
  }

  #write() {
    if (this.mark && !document.title.startsWith(`${this.mark} · `)) document.title = `${this.mark} · ${document.title}`;
  }
}

/** Plays two soft tones; a browser that allows no sound plays none. */
function playTones() {
  try {
    const context = new AudioContext();
    for (const [frequency, after] of TONES) {
      const start = context.currentTime + after;
      const tone = new OscillatorNode(context, { frequency });
      const volume = new GainNode(context, { gain: VOLUME });
      volume.gain.setValueAtTime(VOLUME, start);
      volume.gain.exponentialRampToValueAtTime(0.0001, start + LENGTH);
      tone.connect(volume).connect(context.destination);
      tone.start(start);
      tone.stop(start + LENGTH);
    }
    setTimeout(() => context.close(), 2000);
  } catch (error) {
    console.warn("Diffusion Probe: the browser plays no sound.", error);
  }
}
