// Clock of a board: seconds since the event that brought the times of a run.

/** Seconds since the last event of a run; each second it calls `tick()`. */
export class Clock {
  constructor(tick) {
    this.tick = tick;
    this.passed = 0;
  }

  /** Starts anew if a state brings other times, and stops if nothing in it changes with time. */
  start({ state, address, elapsed, left, seconds, age }) {
    const runs = address !== null && (state === "running" || state === "held");
    const key = JSON.stringify([runs, state, address, elapsed, left, seconds, age]);
    if (key === this.key) return;
    this.stop();
    this.key = key;
    this.passed = 0;
    if (!runs && !age) return;
    const start = performance.now();
    this.timer = setInterval(() => {
      this.passed = (performance.now() - start) / 1000;
      this.tick();
    }, runs ? 1000 : 30_000);
  }

  stop() {
    clearInterval(this.timer);
  }
}
