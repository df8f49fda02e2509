// ComfyUI's server and queue: events, prompts, runs that are over, files, and answers to boards.
import { api } from "../../../../scripts/api.js";
import { app } from "../../../../scripts/app.js";
import { BOARD_EVENT, BOARD_ROUTE } from "../schema.js";
import { locatorOf, runningNode } from "./nodes.js";

/**
 * Listens to ComfyUI. `on` has the handlers: `board(detail)`: an event about a board; `executed(detail)`: a node ran, or
 * its cached output is used; `over(detail, type)`: a run ended, by "success", "error" or "interrupted";
 * `changed()`: the user changed the workflow; `reconnected()`: the connection was lost for a while.
 */
export function listen(on) {
  api.addCustomEventListener(BOARD_EVENT, ({ detail }) => on.board(detail));
  api.addEventListener("executed", ({ detail }) => on.executed(detail));
  for (const type of ["success", "error", "interrupted"]) {
    api.addEventListener(`execution_${type}`, ({ detail }) => on.over(detail, type));
  }
  api.addEventListener("graphChanged", on.changed);
  api.addEventListener("reconnected", on.reconnected);
}

/**
 * Calls `queueing(prompt, workflow id, targets)` with every prompt before it is sent, which may change it; `targets` are
 * the ids of nodes if only these are to run. It returns what is called afterwards: `queued(prompt id, errors by node)`,
 * or `refused()`.
 */
export function watchQueue(queueing) {
  const queue = api.queuePrompt;
  api.queuePrompt = async function (number, data, options, ...more) {
    let then;
    try {
      then = queueing(data.output, data.workflow?.id ?? "", options?.partialExecutionTargets ?? null);
    } catch (error) {
      console.warn("Diffusion Probe: the boards of this run are not followed.", error);
    }
    try {
      const answer = await queue.call(this, number, data, options, ...more);
      then?.queued(answer.prompt_id, answer.node_errors ?? {});
      return answer;
    } catch (error) {
      then?.refused();
      throw error;
    }
  };
}

/** Returns the prompt that Run would send now: nodes by their ids. */
export const promptNow = async () => (await app.graphToPrompt()).output;

/**
 * Queues the open workflow once. With `targets`, ids of nodes, ComfyUI computes only what these need and does not change
 * seeds that are to change after each run.
 */
export const queue = (targets) => app.queuePrompt(0, 1, targets ?? undefined);

/** Returns whether seeds change before a run is queued, and not after it, as the user has set. */
export const changesSeedsBefore = () => setting("Comfy.WidgetControlMode") === "before";

/** Returns the value of a setting. */
export const setting = (name) => app.extensionManager?.setting?.get(name);

/** Returns the last output of the node that runs under an id, undefined if it has none. */
export function lastOutput(id) {
  const node = runningNode(id);
  return node && app.nodeOutputs[locatorOf(node)];
}

/** Removes a value from a node's last output. */
export function forgetOutput(node, name) {
  delete app.nodeOutputs[locatorOf(node)]?.[name];
}

/** Returns the outputs by node of a run that is over, and whether it was a success; null of a run that is not. */
export async function pastRun(prompt) {
  try {
    const run = (await (await api.fetchApi(`/history/${prompt}`)).json())[prompt];
    return run ? { outputs: run.outputs ?? {}, success: run.status?.status_str === "success" } : null;
  } catch {
    return null; // the server is away
  }
}

/** Returns the address of a file of ComfyUI, with `filename`, `subfolder` and `type`. */
export const fileUrl = ({ filename, subfolder = "", type = "output" }) =>
  api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);

/** Returns whether the server has a file. */
export async function hasFile(file) {
  const path = fileUrl(file).slice(api.apiURL("").length);
  return (await api.fetchApi(path, { method: "HEAD" }).catch(() => null))?.ok ?? false;
}

/** Sends a user's action on a board; returns what the server sends back, or null if it refuses. */
export async function answer(body) {
  try {
    const response = await api.fetchApi(BOARD_ROUTE, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    return response.ok ? await response.json() : null;
  } catch {
    return null; // the server went away; ComfyUI says so itself
  }
}
