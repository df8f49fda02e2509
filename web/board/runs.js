// Runs that this page has queued: the workflow, nodes and settings of each, known before the server starts it.

/** Returns the ids of the nodes that an output of a node reaches, each with its distance in links, nearest first. */
export function reached(prompt, id, output, stops) {
  const found = new Map();
  let border = consumers(prompt, (origin) => String(origin[0]) === id && origin[1] === output);
  for (let distance = 1; border.length > 0; distance += 1) {
    const fresh = border.filter((each) => !found.has(each) && each !== id && !stops.has(prompt[each].class_type));
    for (const each of fresh) found.set(each, distance);
    border = consumers(prompt, (origin) => fresh.includes(String(origin[0])));
  }
  return [...found];
}

const isLink = (value) => Array.isArray(value) && value.length === 2 && Number.isInteger(value[1]);

const consumers = (prompt, takes) =>
  Object.keys(prompt).filter((id) => Object.values(prompt[id].inputs).some((value) => isLink(value) && takes(value)));

/** Registry of queued runs by prompt id, which outlives a reload. */
export class Runs {
  constructor(store) {
    this.store = store;
    this.runs = new Map(store.queuedRuns());
    this.unanswered = new Set();
  }

  /**
   * Adds a run that is about to be queued. `run` has the `workflow`'s id and, by their ids, its `nodes` with a board:
   * `key` for the store, `title`, `settings`, and `after`, the nodes that show its images, see `reached`.
   * Returns the function to call with the prompt id as soon as that is known, or with nothing if it is refused.
   */
  add(run) {
    let answered;
    const answer = new Promise((resolve) => (answered = resolve));
    this.unanswered.add(answer);
    return (prompt) => {
      if (prompt) {
        this.runs.set(prompt, run);
        this.store.keepRuns([...this.runs]);
      }
      this.unanswered.delete(answer);
      answered();
    };
  }

  /** Notes that a run is over. */
  close(prompt) {
    const run = this.runs.get(prompt);
    if (!run || run.over) return;
    this.runs.set(prompt, { ...run, over: true });
    this.store.keepRuns([...this.runs]);
  }

  /** Returns the prompt ids of the runs that are not over as far as this page knows, in the order of the queue. */
  unfinished() {
    return [...this.runs].filter(([, run]) => !run.over).map(([prompt]) => prompt);
  }

  /** Returns the run of a prompt, undefined if it is not known yet. */
  known(prompt) {
    return this.runs.get(prompt);
  }

  /** Returns the run of a prompt, undefined if this page did not queue it; waits for runs that are being queued. */
  async get(prompt) {
    if (!this.runs.has(prompt)) await Promise.all(this.unanswered);
    return this.runs.get(prompt);
  }
}
