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

/** Keeps the output of a node; of more than `MOST` the oldest are deleted. A browser without storage is no error. */
export async function keep(key, output) {
  try {
    const store = await boards("readwrite");
    await done(store.put({ time: Date.now(), output }, key));
    const old = (await done(store.index("time").getAllKeys())).slice(0, -MOST);
    await Promise.all(old.map((each) => done(store.delete(each))));
  } catch (error) {
    console.warn("Diffusion Probe: this board is not kept.", error);
  }
}

/** Returns the kept output of a node, undefined if there is none. */
export async function kept(key) {
  try {
    return (await done((await boards("readonly")).get(key)))?.output;
  } catch {
    return undefined;
  }
}
