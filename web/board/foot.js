// Foot of a board: what can be done with it after the run, the server's sentences, and the report.
import { button, make, set, write } from "./dom.js";
import { Message } from "./message.js";
import { canPick, picks } from "./state.js";
import { text, translated } from "./texts.js";

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
    write(this.report, translated(state.report));
    set(this.details, "hidden", !state.report);
    const more = state.hidden ? text("hidden", { count: state.hidden }) : "";
    write(this.reason, [state.skilled || !state.label ? "" : text("unskilled"), translated(state.reason), more].filter(Boolean).join(" "));
  }

  #over(state) {
    const picked = picks(state);
    const count = picked.filter(({ finished }) => !finished).length;
    const rest = [...state.rows.values()].some(({ finished }) => !finished);
    set(this.buttons, "hidden", !canPick(state));
    set(this.finish, "hidden", !rest);
    set(this.finish, "disabled", !state.canSend.finish);
    write(this.finish, text("doFinish", { count }));
    set(this.finish, "title", text(state.canSend.finish ? "doFinishHelp" : "pickFirst"));
    set(this.next, "hidden", !state.canSend.next);
    write(this.next, text("doNext"));
    set(this.next, "title", text("doNextHelp", { seed: state.next_seed }));
    set(this.useAll, "hidden", picked.length === 0);
    write(this.useAll, text("doUseAll"));
    set(this.useAll, "title", text("doUseAllHelp"));
    set(this.stop, "hidden", !state.around);
    write(this.stop, text("stopVarying", { seed: state.around }));
    set(this.stop, "title", text("stopVaryingHelp"));
  }
}
