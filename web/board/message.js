// Message that is shown for a moment, and that screen readers read.
import { make, write } from "./dom.js";

const SECONDS = 4;

/** Element of one message. */
export class Message {
  constructor() {
    this.element = make("span", "dp-message", { role: "status", dir: "auto" });
  }

  /** Shows a message. */
  say(message) {
    write(this.element, message);
    clearTimeout(this.silence);
    this.silence = setTimeout(() => write(this.element, ""), 1000 * SECONDS);
  }

  /** Stops the timer. */
  end() {
    clearTimeout(this.silence);
  }
}
