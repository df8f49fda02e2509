// Every shipped template as a new user meets it at 1400 × 1000: it is in Templates, opens whole and readable, ComfyUI's
// dialog offers its files, and its first Run, with the testbed in the place of its models, ends in what its note promises.
// Started by test_frontend.py with COMFYUI_URL, PACK_NAME and SCREENSHOTS.
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { RENDERERS, boards, missingNodes, openFrontend, openTemplate, pressRun, shown, startRun, templateCard } from "./page.mjs";
import { runOnTestbed } from "./small_models.mjs";

const { COMFYUI_URL, PACK_NAME, SCREENSHOTS } = process.env;
const FOLDER = new URL("../../workflows/", import.meta.url);
const NAMES = (await readdir(FOLDER)).filter((name) => name.endsWith(".json")).map((name) => name.slice(0, -5));
const workflow = async (name) => JSON.parse(await readFile(new URL(`${encodeURIComponent(name)}.json`, FOLDER), "utf-8"));

const LONG = process.env.RENDERERS === "all";
const DIALOG = ["Let a reward pick from 16 seeds (FLUX.1-dev)", "Choose from 16 seeds (no downloads)"];
const RUN = [
  "Let a reward pick from 16 seeds (SDXL)",
  "Filter 8 seeds early, finish 2 (FLUX.1-dev)",
  "Rewrite the prompt if its seeds score low (FLUX.1-dev)",
];
const [SEARCH, SAVE] = ["DiffusionProbeSeedSearch", "DiffusionProbeSaveSeeds"];

/** Numbers of images that the nodes of a type show. */
const saved = async (page, type) => (await shown(page, type)).map(({ images }) => images);

async function runWell(page) {
  const ended = await pressRun(page);
  assert.equal(ended.type, "execution_success", JSON.stringify(ended));
}

/** What a first run ends in, by the beginning of the template's title. */
const ENDS = [
  ["Choose", async ({ page, saved }) => {
    const { ended } = await startRun(page);
    await page.waitForSelector('.dp-board[data-state="held"]', { timeout: 120_000 });
    const [{ tiles }] = await boards(page, SEARCH);
    assert.equal(tiles.length, 16);
    assert.ok(tiles.every(({ picture }) => picture));
    await page.getByRole("button", { name: `Finish seed ${tiles[5].seed} now`, exact: true }).first().click();
    assert.equal((await ended).type, "execution_success");
    assert.deepEqual(await saved(), [1]);
  }],
  ["Let", async ({ page, saved }) => {
    await runWell(page);
    const [{ tiles }] = await boards(page, SEARCH);
    assert.deepEqual([tiles.length, tiles.filter(({ kept }) => kept === "true").length], [16, 1]);
    assert.deepEqual(await saved(), [1]);
  }],
  ["Filter", async ({ page, saved }) => {
    await runWell(page);
    const [score] = await boards(page, "DiffusionProbeScore");
    const [filter] = await boards(page, "DiffusionProbeEarlySeedFilter");
    assert.deepEqual([score.status, filter.status], ["8 of 8 scored", "2 of 8 kept"]);
    assert.deepEqual(await saved(), [2]);
  }],
  ["Rewrite", async ({ page, saved }) => {
    await runWell(page);
    const [gate] = await shown(page, "DiffusionProbePromptGate");
    assert.match(gate.text, /Not passed \(mean of all rows: raw score .* < 17.2\)\. Took otherwise\./);
    assert.deepEqual(await saved(), [4]);
  }],
  ["Improve", async ({ page, saved }) => {
    await runWell(page);
    const [{ text }] = await shown(page, "DiffusionProbePromptLoop");
    assert.match(text, /large red circle to the left/, "the prompt as it was written");
    assert.match(text, /The rewrite gives no wording that was not tried/);
    assert.deepEqual(await saved("SaveImage"), [1]);
  }],
  ["Make", async ({ page, saved }) => {
    await runWell(page);
    assert.deepEqual(await saved("SaveImage"), [1, 1]);
    assert.match((await shown(page, "DiffusionProbeTCPadeCache"))[0].text ?? "", /predicted/);
  }],
  ["Record", async ({ page, renderer }) => {
    await runWell(page);
    const [{ text }] = await shown(page, "DiffusionProbeRecord"); // the second renderer's run is recorded already
    assert.match(text, renderer === RENDERERS[0][0] ? /^Recorded in flux1-dev: 1 run, .*\n4 images/ : /^Already in flux1-dev: 1 run, /);
  }],
  ["Train", async ({ page, saved }) => {
    await runWell(page);
    assert.deepEqual(await saved("PreviewImage"), [1, 1]);
    assert.match((await shown(page, "DiffusionProbeTrainProbe"))[0].text, /60 steps/);
    assert.match((await shown(page, "DiffusionProbeEvaluateProbe"))[0].text, /joint.*none of which it was trained on/);
  }],
];

/** Each node's type and values, and what is linked to what. */
const content = ({ nodes, links }) => ({
  nodes: nodes.map(({ id, type, widgets_values }) => ({ id, type, widgets_values })).sort((a, b) => a.id - b.id),
  links: links.map((link) => link.slice(0, 5)).sort((a, b) => a[0] - b[0]),
});

/** The rectangles of all nodes on the page, in its pixels, and how much is written larger than there is room for. */
const look = (page, vue) =>
  page.evaluate((vue) => {
    const { app, LiteGraph } = window;
    const { ds, canvas } = app.canvas;
    const bar = LiteGraph.NODE_TITLE_HEIGHT;
    const box = (node) => {
      const drawn = vue && document.querySelector(`[data-node-id="${node.id}"]`)?.getBoundingClientRect();
      if (drawn) return [drawn.left, drawn.top, drawn.right, drawn.bottom];
      const [x, y] = [node.pos[0] + ds.offset[0], node.pos[1] - bar + ds.offset[1]].map((at) => at * ds.scale);
      const { left, top } = canvas.getBoundingClientRect();
      return [left + x, top + y, left + x + node.size[0] * ds.scale, top + y + (node.size[1] + bar) * ds.scale];
    };
    const small = app.rootGraph.nodes.filter((node) => !vue && node.computeSize()[1] > node.size[1] + 1);
    const texts = [...document.querySelectorAll(".comfy-markdown-content, .comfy-multiline-input, .lg-node textarea, .lg-node-widget .ProseMirror")];
    const hidden = texts.filter((text) => text.clientHeight && text.scrollHeight > text.clientHeight + 4);
    return {
      boxes: app.rootGraph.nodes.map((node) => [`${node.id} ${node.title}`, ...box(node)]),
      scale: ds.scale,
      tight: small.map((node) => `${node.id} ${node.title}`),
      hidden: hidden.map((text) => (text.value ?? text.textContent).slice(0, 60)),
    };
  }, vue);

/** Pairs of nodes that cover each other. */
function overlaps(boxes) {
  const found = [];
  boxes.forEach(([a, left, top, right, bottom], number) => {
    for (const [b, l, t, r, d] of boxes.slice(number + 1)) {
      if (left < r - 1 && l < right - 1 && top < d - 1 && t < bottom - 1) found.push(`${a} / ${b}`);
    }
  });
  return found;
}

for (const [renderer, vue] of RENDERERS) {
  describe(`the templates (${renderer})`, () => {
    let browser, page, errors;
    const picture = (name) => page.screenshot({ path: `${SCREENSHOTS}/template-${renderer}-${name}.png` });

    before(async () => {
      const settings = { "Comfy.VueNodes.Enabled": vue };
      ({ browser, page, errors } = await openFrontend(COMFYUI_URL, { width: 1400, height: 1000, settings }));
      await runOnTestbed(page);
    });
    after(() => browser?.close());

    const open = async (name) => {
      const saved = await workflow(name);
      await page.evaluate((graph) => window.app.loadGraphData(graph), saved);
      await page.waitForTimeout(800); // what is wrong with a node shows when it is drawn
      return saved;
    };

    test("all are in Templates, with pictures", async () => {
      const { dialog } = await openTemplate(page, PACK_NAME, NAMES[0]);
      for (const name of NAMES) await templateCard(page, dialog, name);
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "hidden" });
    });

    for (const name of NAMES) {
      test(`opens whole and readable: ${name}`, async () => {
        const saved = await open(name);
        assert.deepEqual(await missingNodes(page), []);
        assert.deepEqual(content(await page.evaluate(() => window.app.rootGraph.serialize())), content(saved));
        const { boxes, scale, tight, hidden } = await look(page, vue);
        await picture(name);
        assert.deepEqual(overlaps(boxes), []);
        assert.deepEqual(tight, [], "nodes with less room than their inputs need");
        assert.deepEqual(hidden, [], "texts that go on below their box");
        assert.ok(scale >= 0.62, `the classic renderer hides texts at ${scale}`);
        const outside = boxes.filter(([, left, top, right, bottom]) => left < 55 || top < 40 || right > 1400 || bottom > 1000);
        assert.deepEqual(outside.map(([node]) => node), [], "nodes beyond the page");
      });
    }

    for (const name of NAMES.filter((each) => LONG || DIALOG.includes(each))) {
      test(`ComfyUI's dialog offers every file: ${name}`, async () => {
        const models = (await open(name)).nodes.flatMap(({ properties }) => properties.models ?? []);
        const details = page.getByRole("button", { name: "View details" });
        if (models.length) await details.or(page.getByTestId("panel-tab-errors")).first().click();
        const wanted = [...new Set(models.map((model) => `${model.name} ${model.directory}`))].sort();
        await page.waitForFunction((count) => document.querySelectorAll('[data-testid="missing-model-download"]').length === count, wanted.length);
        const offered = await page.evaluate(() =>
          [...document.querySelectorAll('[data-testid="missing-model-download"]')].map((button) => {
            const row = button.closest('[data-testid="missing-model-importable-rows"] > *');
            return [button.ariaLabel.replace(/^Download /, ""), row.textContent];
          }),
        );
        const listed = wanted.map((model) => model.split(" ")).filter(([file, folder]) => offered.some(([named, text]) => named === file && text.includes(folder)));
        assert.deepEqual(listed.map((pair) => pair.join(" ")), wanted, JSON.stringify(offered));
        await picture(`${name}, files`);
      });
    }

    for (const name of NAMES.filter((each) => LONG || RUN.includes(each))) {
      test(`the first Run ends in what the note promises: ${name}`, async () => {
        await open(name);
        const free = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ free_memory: true }) };
        await fetch(`${COMFYUI_URL}/free`, free); // on the testbed two templates are one prompt, of which ComfyUI keeps the results
        const [, ends] = ENDS.find(([begins]) => name.startsWith(begins));
        await ends({ page, renderer, saved: (type = SAVE) => saved(page, type) });
        await page.waitForTimeout(1000); // images load
        await picture(`${name}, finished`);
      });
    }

    test("nothing went wrong on the way", () => assert.deepEqual(errors, [], "console errors"));
  });
}
