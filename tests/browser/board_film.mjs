// A Seed Search's board as it fills, one PNG per change with its time, for README's moving picture:
//   node tests/browser/board_film.mjs http://127.0.0.1:8188 FOLDER
// `python -m dev.board_film` starts the server and makes an animated WebP of them.
import { writeFile } from "node:fs/promises";
import { openFrontend, savedTemplate, setValues, startRun } from "./page.mjs";

const SEARCH = "DiffusionProbeSeedSearch";
const [url, folder] = process.argv.slice(2);

const { browser, page } = await openFrontend(url, {
  width: 1100,
  height: 1500,
  settings: {
    "Comfy.VueNodes.Enabled": true,
    "Comfy.Minimap.Visible": false,
    "Comfy.Locale": "en",
    "DiffusionProbe.Toast": false, // it would cover the board
  },
});

/** Opens a template with its search node in the middle of the page. */
async function open(name) {
  const saved = await savedTemplate(name);
  await page.evaluate((workflow) => window.app.loadGraphData(workflow), saved);
  await page.waitForTimeout(1500);
  await page.evaluate((type) => {
    const { ds, canvas } = window.app.canvas;
    const node = window.app.rootGraph.nodes.find((each) => each.type === type);
    node.setSize([560, node.size[1]]);
    const box = node.getBounding();
    ds.scale = 1.3;
    ds.offset = [canvas.clientWidth / 2 / 1.3 - box[0] - box[2] / 2, 200 - box[1] - 500];
    window.app.canvas.setDirty(true, true);
  }, SEARCH);
  await page.waitForTimeout(1500);
}

/** Takes pictures of the board until `filming.on` is false. */
async function film(filming, frames) {
  const board = page.locator(".dp-board");
  for (let number = 0; filming.on; number += 1) {
    const file = `${String(number).padStart(4, "0")}.png`;
    try {
      await board.screenshot({ path: `${folder}/${file}`, timeout: 5000 });
      frames.push({ file, at: Date.now() });
    } catch {
      await page.waitForTimeout(50); // there is no board before the first event
    }
  }
}

try {
  await open("seed-search-testbed");
  await setValues(page, SEARCH, { hold_for_me: true, candidates: 12, policy: "successive halving", budget: 6, survivors: 2 });
  const [filming, frames] = [{ on: true }, []];
  const { ended } = await startRun(page);
  const camera = film(filming, frames);
  await page.waitForSelector('.dp-board[data-state="held"]', { timeout: 120_000 });
  await page.waitForTimeout(1500);
  await page.locator(".dp-tile").nth(4).hover();
  await page.waitForTimeout(1000);
  await page.locator(".dp-tile").nth(4).locator(".dp-pin").click();
  await page.waitForSelector('.dp-tile[data-mark="pinned"]');
  await page.waitForTimeout(1500);
  await page.getByRole("button", { name: "Go on (Enter)" }).click();
  if ((await ended).type !== "execution_success") throw new Error("the search did not end well");
  await page.mouse.move(5, 5);
  await page.waitForTimeout(2000);
  filming.on = false;
  await camera;
  await writeFile(`${folder}/frames.json`, JSON.stringify(frames));
} finally {
  await browser.close();
}
