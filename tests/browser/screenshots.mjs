// Pictures of the running server for README and help pages, as PNG; `make screenshots` makes small files of them:
//   node tests/browser/screenshots.mjs http://127.0.0.1:8188 FOLDER [NODE…]
// With names of nodes, only those, as they are before a run.
import { boards, openFrontend, pressRun, savedTemplate, setValues, startRun } from "./page.mjs";

const SEARCH = "DiffusionProbeSeedSearch";
const RAN = ["DiffusionProbeScore", "DiffusionProbeEarlySeedFilter", "DiffusionProbeSaveSeeds", SEARCH];
const [url, folder, ...only] = process.argv.slice(2);

const { browser, page } = await openFrontend(url, {
  width: 1500,
  height: 1900,
  settings: {
    "Comfy.VueNodes.Enabled": true,
    "Comfy.Minimap.Visible": false,
    "Comfy.Locale": "en",
    "DiffusionProbe.Toast": false, // it would cover the board
  },
});

async function open(name) {
  const saved = await savedTemplate(name);
  await page.evaluate((workflow) => window.app.loadGraphData(workflow), saved);
  await page.waitForTimeout(1000);
}

const nodeOf = (type) =>
  page.evaluate((wanted) => window.app.rootGraph.nodes.find((node) => node.type === wanted).id, type);

/** Brings nodes into view: the middle of them, at a scale. */
async function look(types, scale = 1) {
  await page.evaluate(
    ([wanted, scale]) => {
      const { ds, canvas } = window.app.canvas;
      const boxes = window.app.rootGraph.nodes.filter(({ type }) => wanted.includes(type)).map((node) => node.getBounding());
      const middle = (at) =>
        (Math.min(...boxes.map((box) => box[at])) + Math.max(...boxes.map((box) => box[at] + box[at + 2]))) / 2;
      ds.scale = scale;
      ds.offset = [canvas.clientWidth / 2 / scale - middle(0), canvas.clientHeight / 2 / scale - middle(1)];
      window.app.canvas.setDirty(true, true);
    },
    [types, scale],
  );
  await page.waitForTimeout(1500);
}

/** One node alone, as its help page shows it. */
async function portrait(type, scale = 1) {
  await look([type], scale);
  await page.locator(`[data-node-id="${await nodeOf(type)}"]`).screenshot({ path: `${folder}/${type}.png` });
}

/** What boards show, and the nodes that have one. */
async function runs() {
  await open("seed-search-testbed");
  await setValues(page, SEARCH, { hold_for_me: true, candidates: 12, policy: "successive halving", budget: 6, survivors: 2 });
  await page.evaluate((type) => {
    const node = window.app.rootGraph.nodes.find((each) => each.type === type);
    node.setSize([560, node.size[1] + 180]); // two rows of tiles
  }, SEARCH);
  const { ended } = await startRun(page);
  await page.waitForSelector('.dp-board[data-state="held"]', { timeout: 120_000 });
  await look([SEARCH], 1.4);
  await page.locator(".dp-tile").nth(4).hover();
  await page.locator(".dp-tile").nth(4).locator(".dp-pin").click();
  await page.waitForSelector('.dp-tile[data-mark="pinned"]');
  await page.evaluate(() => document.querySelectorAll(".dp-board *").forEach((part) => part.scrollTo(0, 0)));
  await page.mouse.move(5, 5);
  await page.locator(".dp-board").screenshot({ path: `${folder}/seed-search-held.png` });
  await page.getByRole("button", { name: "Go on (Enter)" }).click();
  if ((await ended).type !== "execution_success") throw new Error("the search did not end well");
  await portrait(SEARCH, 0.9);

  await open("seed-selection-testbed");
  if ((await pressRun(page)).type !== "execution_success") throw new Error("the selection did not end well");
  if ((await boards(page, "DiffusionProbeScore"))[0].tiles.length === 0) throw new Error("the board is empty");
  await look(["KSamplerAdvanced", "DiffusionProbeSaveSeeds"], 0.62);
  const clip = { x: 65, y: 650, width: 1435, height: 520 };
  await page.screenshot({ path: `${folder}/seed-selection.png`, clip });
  for (const type of RAN.slice(0, 3)) await portrait(type);
}

try {
  if (!only.length) await runs();
  const types = await page.evaluate(() =>
    Object.keys(window.LiteGraph.registered_node_types).filter((type) => type.startsWith("DiffusionProbe")),
  );
  for (const type of only.length ? only : types.filter((each) => !RAN.includes(each))) {
    await page.evaluate((wanted) => {
      window.app.rootGraph.clear();
      window.app.rootGraph.id = crypto.randomUUID(); // the frontend keeps values by the graph and the number of a node
      const node = window.LiteGraph.createNode(wanted);
      window.app.rootGraph.add(node);
      node.pos = [100, 100];
      node.setSize([Math.max(320, node.size[0]), node.size[1]]);
    }, type);
    await portrait(type);
  }
} finally {
  await browser.close();
}
