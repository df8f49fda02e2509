// The real frontend in Debian's Chromium: open it, listen for errors, find one's way in it.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { chromium } from "playwright-core";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

// What ComfyUI's frontend itself says on a fresh user folder, or without the internet.
const NOT_OURS = [
  /user\.css|\/api\/userdata/,
  /graph accessed before initialization/,
  /Content Security Policy/,
  /https:\/\/(?!127\.0\.0\.1)/,
];

/** Renderers that the tests run in: the one of a new user; both in the long run (RENDERERS=all). */
export const RENDERERS = [["classic", false], ["nodes2", true]].slice(0, process.env.RENDERERS === "all" ? 2 : 1);

/** Opens the frontend. `errors` collects what a user would see in red in the console. */
export async function openFrontend(url, { width = 1600, height = 1000, settings = {} } = {}) {
  await changeSettings(url, { "Comfy.TutorialCompleted": true, ...settings });
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  const context = await browser.newContext({ viewport: { width, height } });
  const page = await context.newPage();
  page.setDefaultTimeout(90_000); // two busy cores draw slowly
  const errors = [];
  const add = (text) => NOT_OURS.some((pattern) => pattern.test(text)) || errors.push(text);
  page.on("pageerror", (error) => add(`uncaught: ${error.stack}`));
  page.on("console", (message) => {
    if (message.type() === "error") add(`${message.text()} (${message.location().url})`);
  });
  await page.goto(url, { waitUntil: "domcontentloaded" });
  await waitForGraph(page);
  return { browser, page, errors };
}

/** An empty page with the pack's modules under http://board.test/, without any server. */
export async function openPack() {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  const page = await browser.newPage({ viewport: { width: 900, height: 700 } });
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.stack));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  const style = '<link rel="stylesheet" href="/board/board.css"><link rel="stylesheet" href="/board/page.css"><link rel="icon" href="data:,">';
  await page.route("http://board.test/**", async (route) => {
    const { pathname } = new URL(route.request().url());
    if (pathname === "/") return route.fulfill({ contentType: "text/html", body: `<!doctype html>${style}<body></body>` });
    if (pathname === "/view") return route.fulfill({ contentType: "image/svg+xml", body: '<svg xmlns="http://www.w3.org/2000/svg"/>' });
    const locale = /^\/(en|zh)\.json$/.exec(pathname);
    const file = /^\/fake_\w+\.js$/.test(pathname) ? `.${pathname}` : locale && `../../locales/${locale[1]}/main.json`;
    return route.fulfill({ path: fileURLToPath(new URL(file ?? `../../web${pathname}`, import.meta.url)) });
  });
  return { browser, page, errors };
}

/** A template of version 0.2 of the pack, as `tests/saved` keeps it; most of them are on the testbed. */
export async function savedTemplate(name) {
  const packed = await readFile(new URL("../saved/templates.json.gz", import.meta.url));
  return JSON.parse(gunzipSync(packed))[name].workflow;
}

export async function waitForGraph(page) {
  await page.waitForFunction(() => window.app?.graph && window.LiteGraph?.registered_node_types?.KSampler, null, {
    timeout: 120_000,
  });
}

/** Templates → this pack → the template of that name. */
export async function openTemplate(page, pack, name) {
  await page.getByRole("button", { name: /templates/i }).first().click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText(pack, { exact: true }).first().click();
  const card = await templateCard(page, dialog, name);
  await page.waitForTimeout(1000); // let the thumbnail load
  return { dialog, open: () => card.click() };
}

/** The card of a template in the dialog, which loads more of them as it is scrolled. */
export async function templateCard(page, dialog, name) {
  const card = dialog.getByText(name, { exact: true }).first();
  const box = await dialog.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  for (let tries = 0; tries < 60 && !(await card.count()); tries += 1) {
    await page.mouse.wheel(0, 800);
    await page.waitForTimeout(250);
  }
  await card.waitFor();
  return card;
}

/** Presses the page's own Run button and waits for the end of that run: "execution_success" or what went wrong. */
export async function pressRun(page, timeout = 240_000) {
  return (await startRun(page, timeout)).ended;
}

/** Presses the page's own Run button; `ended` is the end of that run, as of `pressRun`. */
export async function startRun(page, timeout = 240_000) {
  await page.evaluate(() => {
    window.runEnded = new Promise((resolve) => {
      for (const type of ["execution_success", "execution_error", "execution_interrupted"]) {
        window.app.api.addEventListener(type, ({ detail }) => resolve({ type, detail }), { once: true });
      }
    });
  });
  await page.getByRole("button", { name: /^Run/ }).first().click();
  const late = new Promise((resolve) => setTimeout(() => resolve({ type: "timeout" }), timeout).unref());
  return { ended: Promise.race([page.evaluate(() => window.runEnded), late]) };
}

/** The nodes of a type in the open workflow, with what they show. */
export function shown(page, type) {
  return page.evaluate((wanted) => {
    const nodes = window.app.rootGraph.nodes.filter((node) => node.type === wanted);
    return nodes.map((node) => ({
      id: node.id,
      text:
        node.widgets?.find(({ name }) => name === "diffusion_probe_text")?.value ??
        node.widgets?.find(({ name }) => name === "$$node-text-preview")?.value ??
        node.widgets?.find(({ name }) => name === "diffusion_probe_board")?.element.querySelector(".dp-report")?.textContent,
      images: window.app.nodeOutputs[node.id]?.images?.length ?? 0,
    }));
  }, type);
}

/** What the boards of a type of node show, in the open workflow and its subgraphs. */
export function boards(page, type) {
  return page.evaluate((wanted) => {
    const { rootGraph } = window.app;
    const graphs = [rootGraph, ...rootGraph.subgraphs.values()];
    const nodes = graphs.flatMap((graph) => graph.nodes).filter((node) => node.type === wanted);
    return nodes.map((node) => {
      const { element } = node.widgets.find(({ name }) => name === "diffusion_probe_board");
      const board = element.querySelector(".dp-board");
      const read = (selector) => board?.querySelector(selector)?.textContent ?? "";
      return {
        id: node.id,
        state: board?.dataset.state,
        status: read(".dp-status"),
        reason: read(".dp-reason"),
        words: [...(board?.querySelectorAll(".dp-chip") ?? [])].map((chip) => chip.textContent),
        tiles: [...(board?.querySelectorAll(".dp-tile") ?? [])].map((tile) => ({
          label: tile.ariaLabel,
          seed: tile.dataset.seed,
          rank: Number(tile.querySelector(".dp-rank").textContent.slice(1)),
          kept: tile.dataset.kept,
          mark: tile.dataset.mark,
          picture: Boolean(tile.querySelector(".dp-img").getAttribute("src")),
        })),
      };
    });
  }, type);
}

/** Sets values of the open workflow's nodes of a type. */
export function setValues(page, type, values) {
  return page.evaluate(
    ([wanted, all]) => {
      for (const node of window.app.rootGraph.nodes.filter((each) => each.type === wanted)) {
        for (const [name, value] of Object.entries(all)) node.widgets.find((widget) => widget.name === name).value = value;
      }
    },
    [type, values],
  );
}

/** Types of the open workflow's nodes that this ComfyUI does not have. */
export function missingNodes(page) {
  return page.evaluate(() =>
    window.app.rootGraph.nodes.map(({ type }) => type).filter((type) => !window.LiteGraph.registered_node_types[type]),
  );
}

/** Shows one node at full size: at a distance the classic renderer leaves text out. */
export async function closeUp(page, id) {
  await page.evaluate((node) => {
    window.app.canvas.ds.scale = 1;
    window.app.canvas.centerOnNode(window.app.rootGraph.getNodeById(node));
    window.app.canvas.setDirty(true, true);
  }, id);
  await page.waitForTimeout(1000);
}

async function changeSettings(url, settings) {
  const response = await fetch(`${url}/api/settings`, { method: "POST", body: JSON.stringify(settings) });
  if (!response.ok) throw new Error(`settings: ${response.status}`);
}
