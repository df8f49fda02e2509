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
