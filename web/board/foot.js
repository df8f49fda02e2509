// Foot of a board: what can be done with it after the run, the server's sentences, and the report.
import { button, make, set, write } from "./dom.js";
import { Message } from "./message.js";
import { canPick, picks } from "./state.js";
import { text } from "./texts.js";

/** Elements below the tiles. */
export class Foot {
  /** `act(action, value)` as of View. */
  constructor(act) {
    this.finish = button("dp-main", () => act("finish"));
    this.next = button("", () => act("next"));
    this.useAll = button("", () => act("useAll"));
    this.stop = button("", () => act("around", null));
    this.buttons = make("div", "dp-over", { hidden: true }, this.finish, this.next, this.useAll, this.stop);
    this.reason = make("div", "dp-reason", { dir: "auto" });
    this.report = make("div", "dp-report", { dir: "auto", tabindex: 0 });
    this.summary = make("summary", "");
    this.details = make("details", "dp-details", {}, this.summary, this.report);
    this.message = new Message();
    this.elements = [this.buttons, this.reason, this.details, this.message.element];
    write(this.summary, text("report"));
  }

  /** Shows a state. */
  update(state) {
    this.#over(state);
    write(this.report, state.report);
    set(this.details, "hidden", !state.report);
    const more = state.hidden ? text("hidden", { count: state.hidden }) : "";
    write(this.reason, [state.skilled ? "" : text("unskilled"), state.reason, more].filter(Boolean).join(" "));
  }

  #over(state) {
    const picked = picks(state);
    const count = picked.filter(({ finished }) => !finished).length;
    set(this.buttons, "hidden", !canPick(state) || (!state.canSend.finish && !state.canSend.next));
    set(this.finish, "hidden", !state.canSend.finish);
    set(this.finish, "disabled", count === 0);
    write(this.finish, text("finishPicked", { count }));
    set(this.finish, "title", text(count ? "finishPickedHelp" : "pickFirst"));
    set(this.next, "hidden", !state.canSend.next);
    write(this.next, text("nextSeeds"));
    set(this.next, "title", text("nextSeedsHelp", { seed: state.next_seed }));
    set(this.useAll, "hidden", picked.length === 0);
    write(this.useAll, text("useAll"));
    set(this.useAll, "title", text("useAllHelp"));
    set(this.stop, "hidden", !state.around);
    write(this.stop, text("stopVarying", { seed: state.around }));
    set(this.stop, "title", text("stopVaryingHelp"));
  }
}
