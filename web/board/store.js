// Store of the last board of each node, in the browser: it is shown again after a reload, and when a saved workflow
// is opened another day. It is not saved with the workflow, which goes into every image.
const NAME = "diffusion-probe";
const BOARDS = "boards";
const MOST = 48;

const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

let database;

function open() {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(BOARDS).createIndex("time", "time");
  return done(request);
}

async function boards(mode) {
  database ??= open();
  return (await database).transaction(BOARDS, mode).objectStore(BOARDS);
}

const SECRETS = "diffusion-probe.secrets";
const MOST_SECRETS = 32;
let secrets;

/** Returns secrets by the keys of boards, oldest first. This tab keeps them, so a reloaded page can still answer. */
function allSecrets() {
  try {
    secrets ??= new Map(JSON.parse(sessionStorage.getItem(SECRETS) ?? "[]"));
  } catch {
    secrets = new Map(); // other code wrote something else under this name
  }
  return secrets;
}

/** Keeps the secret that answers to a board have to repeat; of many boards the last ones. */
export function keepSecret(board, secret) {
  const all = allSecrets().set(board, secret);
  for (const old of [...all.keys()].slice(0, -MOST_SECRETS)) all.delete(old);
  try {
    sessionStorage.setItem(SECRETS, JSON.stringify([...all]));
  } catch {
    // a browser without storage: secrets last until the page is left
  }
}

/** Returns the secret of a board, undefined if it is not known. */
export const secretOf = (board) => allSecrets().get(board);

/** Returns all known secrets. */
export const knownSecrets = () => [...allSecrets().values()];

/**
 * Keeps the output of a node and values about its run, which the page alone knows; of more than `MOST` nodes the oldest
 * are deleted. A browser without storage is no error.
 */
export async function keep(key, output, about) {
  try {
    const store = await boards("readwrite");
    await done(store.put({ time: Date.now(), output, about }, key));
    const old = (await done(store.index("time").getAllKeys())).slice(0, -MOST);
    await Promise.all(old.map((each) => done(store.delete(each))));
  } catch (error) {
    console.warn("Diffusion Probe: this board is not kept.", error);
  }
}

/** Returns what is kept of a node as `output` and `about`, undefined if nothing is. */
export async function kept(key) {
  try {
    return await done((await boards("readonly")).get(key));
  } catch {
    return undefined;
  }
}

/** Deletes what is kept of a node. */
export async function forget(key) {
  try {
    await done((await boards("readwrite")).delete(key));
  } catch {
    // a browser without storage has kept nothing
  }
}

const RUNS = "diffusion-probe.runs";
const MOST_RUNS = 32;

/** Returns the runs that this tab has queued, as pairs of prompt id and values; a reloaded page can still read them. */
export function queuedRuns() {
  try {
    const runs = JSON.parse(sessionStorage.getItem(RUNS) ?? "[]");
    return Array.isArray(runs) ? runs : [];
  } catch {
    return [];
  }
}

/** Keeps the runs that this tab has queued, the last ones. */
export function keepRuns(runs) {
  try {
    sessionStorage.setItem(RUNS, JSON.stringify(runs.slice(-MOST_RUNS)));
  } catch {
    // a browser without storage, or too long values: runs are known until the page is left
  }
}

const SIZE = "diffusion-probe.size";

/** Returns the size of the tiles in pixels that the user chose, undefined for none. */
export function size() {
  try {
    const kept = Number(localStorage.getItem(SIZE));
    return kept > 0 && Number.isFinite(kept) ? kept : undefined;
  } catch {
    return undefined;
  }
}

/** Keeps the size of the tiles in pixels. */
export function keepSize(pixels) {
  try {
    localStorage.setItem(SIZE, String(pixels));
  } catch {
    // a browser without storage: it lasts until the page is left
  }
}
