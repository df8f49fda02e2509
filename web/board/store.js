// The last board of each node, kept in the browser: so it is there again after a reload, and when a saved workflow
// is opened another day. It isn't saved with the workflow, which goes into every image.
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

/** By the places of boards, oldest first. This tab keeps them, so a page that is loaded again can still answer. */
function allSecrets() {
  try {
    secrets ??= new Map(JSON.parse(sessionStorage.getItem(SECRETS) ?? "[]"));
  } catch {
    secrets = new Map(); // what is there is of someone else
  }
  return secrets;
}

/** Keeps what answers to a board have to hold; of many boards the last ones. */
export function keepSecret(place, secret) {
  const all = allSecrets().set(place, secret);
  for (const old of [...all.keys()].slice(0, -MOST_SECRETS)) all.delete(old);
  try {
    sessionStorage.setItem(SECRETS, JSON.stringify([...all]));
  } catch {
    // a browser that keeps nothing: until the page is left
  }
}

/** What answers to a board have to hold, undefined if it isn't known. */
export const secretOf = (place) => allSecrets().get(place);

/** The secrets of all boards that are known. */
export const knownSecrets = () => [...allSecrets().values()];

/** Keeps what a node showed; of more than `MOST` the oldest go. A browser that keeps nothing is no error. */
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

/** What was kept of a node, undefined if nothing was. */
export async function kept(key) {
  try {
    return (await done((await boards("readonly")).get(key)))?.output;
  } catch {
    return undefined;
  }
}
