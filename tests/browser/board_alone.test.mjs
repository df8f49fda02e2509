// The seed board without ComfyUI: plain DOM in Chromium, the frontend faked by fake_host.js.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, beforeEach, test } from "node:test";
import { openPack } from "./page.mjs";

const { SCREENSHOTS } = process.env;
let browser, page, errors;

before(async () => {
  ({ browser, page, errors } = await openPack());
});
after(() => browser?.close());
beforeEach(async () => {
  await page.goto("http://board.test/");
  await page.evaluate(async () => {
    window.fake = await import("/fake_host.js"); // the test's own handle, not the pack's
  });
});

/** The tiles of the only board, as a reader sees them. */
const tiles = () =>
  page.$$eval(".dp-tile", (all) =>
    all.map((tile) => ({ seed: tile.dataset.seed, mark: tile.dataset.mark ?? null })),
  );
const seeds = async () => (await tiles()).map(({ seed }) => seed);
const sent = () => page.evaluate(() => window.fake.sent.filter((body) => body.do !== "boards"));
const pin = (seed) => page.getByRole("button", { name: `Pick seed ${seed}` });
const listed = (name) => page.getByRole("listitem", { name });

/** A board of `count` candidates on a node of that width. */
const show = (count, more = {}, width = 420) =>
  page.evaluate(
    async ([count, more, width]) => {
      const { addNode, board, event_of, row, tell } = window.fake;
      await addNode("7", width);
      const rows = Array.from({ length: count }, (_, number) => row(number, { rank: count - number }));
      tell(event_of("7", 1, board(rows, more)));
    },
    [count, more, width],
  ).then(() => page.waitForSelector(".dp-tile"));

test("shows one candidate, and two hundred", async () => {
  await show(1);
  assert.deepEqual(await seeds(), ["1000"]);
  await page.evaluate(() => {
    const { board, event_of, row, tell } = window.fake;
    tell(event_of("7", 1, board(Array.from({ length: 200 }, (_, number) => row(number))), { prompt_id: "run 2" }));
  });
  assert.equal((await seeds()).length, 200);
});

test("of 64 candidates, an update touches the tiles it is about and no other", async () => {
  const found = await page.evaluate(async () => {
    const { View } = await import("/board/view.js");
    const { EMPTY, received } = await import("/board/state.js");
    const { readEvent } = await import("/board/events.js");
    const { board, event_of, row } = window.fake;
    const view = new View(() => {});
    const frame = document.createElement("div");
    frame.style.cssText = "position: relative; width: 420px; height: 500px;";
    frame.append(view.element);
    document.body.append(frame);
    let state = EMPTY;
    const step = (number, rows) => {
      const start = performance.now();
      state = received(state, readEvent(event_of("7", number, board(rows))));
      const done = view.update(state, "test");
      frame.offsetHeight; // layout counts too
      return { ...done, ms: performance.now() - start };
    };
    const all = Array.from({ length: 64 }, (_, number) => row(number, { rank: number + 1 }));
    return [step(1, all), step(2, all.map((each) => ({ ...each, score: 9 }))), step(3, [row(5, { rank: 6, score: 8 })])];
  });
  console.log(`main thread, 64 candidates: ${found.map(({ ms }) => `${ms.toFixed(1)} ms`).join(", ")}`);
  assert.deepEqual(found.map(({ made, changed, moved }) => [made, changed, moved]), [[64, 64, 64], [0, 64, 0], [0, 1, 0]]);
});

test("sorts by rank or by seed, of 64 bits", async () => {
  await show(3);
  await page.evaluate(() => {
    const { event_of, tell } = window.fake;
    tell(event_of("7", 2, { rows: [{ row: 0, seed: "18446744073709551615" }, { row: 1, seed: "18446744073709551614" }] }));
  });
  assert.deepEqual(await seeds(), ["1002", "18446744073709551614", "18446744073709551615"]);
  await page.selectOption(".dp-sort", "seed");
  assert.deepEqual(await seeds(), ["1002", "18446744073709551614", "18446744073709551615"]);
  await page.evaluate(() => window.fake.tell(window.fake.event_of("7", 3, { rows: [{ row: 2, seed: "7 row 3", rank: 3 }] })));
  assert.equal((await seeds())[0], "7 row 3");
});

test("bars reach to the score's place, and a line marks the threshold where there is one", async () => {
  await show(2, { line: null });
  assert.equal(await page.locator(".dp-line:visible").count(), 0);
  await page.evaluate(() => window.fake.tell(window.fake.event_of("7", 2, { line: 25, rows: [{ row: 0, place: 50 }] })));
  assert.equal(await page.locator(".dp-line:visible").count(), 2);
  const share = (part, property) =>
    listed(/seed 1000/).locator(part).evaluate((element, name) => {
      const bar = element.parentElement.getBoundingClientRect();
      const box = element.getBoundingClientRect();
      return Math.round((100 * (name === "width" ? box.width : box.left - bar.left)) / bar.width);
    }, property);
  assert.deepEqual([await share(".dp-fill", "width"), await share(".dp-line", "left")], [50, 25]);
});

test("malformed and foreign events change nothing", async () => {
  await show(2);
  const before = await page.innerHTML("body");
  await page.evaluate(() => {
    const { board, event_of, row, tell } = window.fake;
    const good = board([row(0, { seed: "wrong" })]);
    for (const bad of [null, 3, "text", [], {}, { rows: [] }, { ...event_of("7", 2, good), number: "2" }]) tell(bad);
    tell({ ...event_of("7", 2, good), display_node_id: 7 });
    tell({ ...event_of("7", 2, good), prompt_id: "" });
    tell({ ...event_of("7", 2, good), rows: "many" });
    tell(event_of("7", 2, good, { workflow_id: "another workflow" }));
    tell(event_of("8", 2, good));
  });
  assert.equal(await page.innerHTML("body"), before);
});

test("random hostile events and saved boards break nothing, and the next event is shown", async () => {
  await show(2);
  await page.evaluate(async () => {
    const { board, event_of, execute, nodes, row, tell } = window.fake;
    let state = 7; // of a generator, so that a failure comes again
    const draw = (count) => (state = (state * 48271) % 2147483647) % count;
    const texts = ["", "\ud800", "9".repeat(5000), "<img src=x>", "__proto__", "constructor", "data:image/png;,", "\u202e"];
    const numbers = [NaN, Infinity, -1, 1e308, 2 ** 64, 0.5, 3];
    const value = (depth) =>
      [
        () => texts[draw(texts.length)], () => numbers[draw(numbers.length)], () => null, () => undefined, () => true,
        () => (depth ? [value(depth - 1), value(depth - 1)] : []),
        () => (depth ? { [texts[draw(texts.length)]]: value(depth - 1), rows: value(depth - 1) } : {}),
      ][draw(7)]();
    const changed = (right) => {
      if (typeof right !== "object" || right === null || draw(8) === 0) return value(3);
      const found = Array.isArray(right) ? [...right] : { ...right };
      const names = Object.keys(found);
      if (names.length) found[names[draw(names.length)]] = changed(found[names[draw(names.length)]]);
      return found;
    };
    for (let number = 0; number < 300; number++) {
      const right = board([row(0), row(1)], { words: ["red"] });
      tell(changed(event_of("7", 2, right)));
      if (number % 10 === 0) execute(nodes["7"], changed({ diffusion_probe_board: [right], text: ["a report"] }));
    }
    tell(event_of("7", 1, board([row(3)]), { prompt_id: "run 2", full: true }));
  });
  await page.waitForFunction(() => document.querySelector(".dp-tile")?.dataset.seed === "1003");
  assert.deepEqual(await seeds(), ["1003"]);
});

test("malformed values of a row are left out, and the rest is shown", async () => {
  await show(2);
  await page.evaluate(() => {
    const { event_of, tell } = window.fake;
    const picture = "https://elsewhere.test/track.png";
    const wrong = { row: 0, score: "high", picture, mark: "loved", heats: { 0: picture }, seed: "<img src=x onerror=alert(1)>" };
    tell(event_of("7", 2, { rows: [wrong, { row: -1 }, { row: 1e9 }, null, 4] }));
  });
  assert.deepEqual(await seeds(), ["1001", "<img src=x onerror=alert(1)>"], "text stays text");
  assert.equal(await page.locator(".dp-tile img[src^=http]").count(), 0, "no picture from elsewhere");
  assert.equal(await page.locator(".dp-tile").count(), 2);
});

test("after a gap in the events, and after a lost connection, it asks for the whole board", async () => {
  await show(2);
  await page.evaluate(() => {
    const { board, drop, event_of, open, row, tell } = window.fake;
    open.boards = [event_of("7", 5, board([row(0), row(1), row(2)]), { full: true })];
    tell(event_of("7", 4, { rows: [{ row: 0, score: 1 }] }));
  });
  await page.waitForFunction(() => document.querySelectorAll(".dp-tile").length === 3);
  await page.evaluate(() => {
    const { board, drop, event_of, open, row } = window.fake;
    open.boards = [event_of("7", 9, board([row(0)]), { full: true })];
    drop();
  });
  await page.waitForFunction(() => document.querySelectorAll(".dp-tile").length === 1);
});

test("answers hello to an event that asks, for its run and node, with the secret of that board", async () => {
  await show(1);
  await page.evaluate(() => window.fake.tell(window.fake.event_of("7", 2, { ask: true })));
  assert.deepEqual(await sent(), [{ do: "hello", prompt_id: "run 1", node_id: "7", secret: "of 7", gone_seconds: 30 }]);
});

test("asks for the boards whose secrets this tab received, and for none if it received none", async () => {
  const asked = () => page.evaluate(() => window.fake.sent.filter((body) => body.do === "boards"));
  await page.evaluate(() => window.fake.drop());
  assert.deepEqual(await asked(), []);
  await show(1);
  await page.evaluate(() => window.fake.drop());
  assert.deepEqual((await asked()).at(-1), { do: "boards", secrets: ["of 7"] });
});

test("secrets outlive a reload, the last 32 of them, and are of this tab alone", async () => {
  const known = () =>
    page.evaluate(async () => {
      const { knownSecrets, secretOf } = await import("/board/store.js");
      return [knownSecrets().length, secretOf("run 39/7"), secretOf("run 0/7") ?? null];
    });
  await page.evaluate(async () => {
    const { keepSecret } = await import("/board/store.js");
    for (let run = 0; run < 40; run++) keepSecret(`run ${run}/7`, `secret ${run}`);
  });
  assert.deepEqual(await known(), [32, "secret 39", null]);
  await page.reload();
  assert.deepEqual(await known(), [32, "secret 39", null]);
  await page.evaluate(() => sessionStorage.setItem("diffusion-probe.secrets", "{"));
  await page.reload();
  assert.deepEqual(await known(), [0, undefined, null]);
});

test("works by keyboard alone: arrows, P, delete, enter", async () => {
  await show(6, { state: "held", seconds: 60 });
  await page.getByRole("button", { name: "Go on (Enter)" }).focus();
  await page.keyboard.press("Tab");
  const label = () => page.evaluate(() => document.activeElement.getAttribute("aria-label"));
  assert.match(await label(), /^seed 1005, rank 1 of 6, score 0\.5, step 2$/);
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("p");
  await listed(/seed 1004.*picked/).waitFor();
  assert.match(await label(), /seed 1004/, "focus stays");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Delete");
  await page.waitForFunction(() => document.querySelector('[data-mark="discarded"]'));
  await page.keyboard.press("End");
  assert.match(await label(), /seed 1000/);
  await page.keyboard.press("Home");
  await page.keyboard.press("Enter");
  const answers = (await sent()).map((body) => [body.do, body.row]);
  assert.deepEqual([answers[0], answers.at(-1)], [["pin", 4], ["go", undefined]]);
  assert.equal(answers[1][0], "discard");
  assert.equal(await page.locator('.dp-tile[tabindex="0"]').count(), 1, "one stop for Tab");
});

test("the focus stays on a tile that moves, and texts that come late hold nothing up", async () => {
  await page.evaluate(() => {
    const { addNode, board, event_of, open, row, tell } = window.fake;
    addNode("7"); // at once: before the texts are there
    tell(event_of("7", 1, board([row(0, { rank: 1 }), row(1, { rank: 2 }), row(2, { rank: 3 })])));
    tell(event_of("7", 2, { rows: [{ row: 2, score: 0.5 }] }));
  });
  await listed(/^seed 1002, rank 3 of 3, score 0\.5/).focus();
  await page.evaluate(() => window.fake.tell(window.fake.event_of("7", 3, { rows: [{ row: 2, rank: 1 }, { row: 0, rank: 3 }] })));
  await page.waitForFunction(() => document.querySelector(".dp-tile").ariaLabel.startsWith("seed 1002"));
  assert.match(await page.evaluate(() => document.activeElement.ariaLabel), /^seed 1002/);
});

test("the same key removes a mark, and a mark that the server refuses is not shown", async () => {
  await show(2, { state: "held", seconds: 60 });
  await listed(/seed 1001/).focus();
  await page.keyboard.press("p");
  await listed(/seed 1001.*picked/).waitFor();
  await page.keyboard.press("p");
  await page.waitForFunction(() => !document.querySelector("[data-mark]"));
  assert.deepEqual((await sent()).map((body) => body.do), ["pin", "clear"]);
  await page.evaluate(() => (window.fake.open.takes = false));
  await page.keyboard.press("Delete");
  await page.getByText("The run has gone on").waitFor();
  assert.equal(await page.locator("[data-mark]").count(), 0);
});

test("marks are offered only while they count, and never where nothing continues a candidate", async () => {
  await show(2, { state: "held", seconds: 60 });
  await page.evaluate(() => window.fake.tell(window.fake.event_of("7", 2, { rows: [{ row: 0, gone: true }] })));
  assert.ok(await pin("1000").isDisabled());
  assert.ok(await pin("1001").isEnabled());
  await page.evaluate(() => window.fake.tell(window.fake.event_of("7", 3, { state: "done", rows: [] })));
  assert.ok(await pin("1001").isDisabled());
  await listed(/seed 1001/).focus();
  await page.keyboard.press("p");
  assert.deepEqual(await sent(), []);
  await page.getByText("Picks and discards count while the node runs").waitFor();
});

test("a chosen word lays its map over the pictures", async () => {
  await show(2, { words: ["red", "circle"] });
  await page.evaluate(() => {
    const { PIXEL, event_of, tell } = window.fake;
    tell(event_of("7", 2, { rows: [{ row: 1, heats: { 0: PIXEL, 1: PIXEL } }] }));
  });
  const maps = () => page.locator(".dp-heat[src]").count();
  assert.equal(await maps(), 0);
  await page.getByRole("button", { name: "circle" }).click();
  assert.equal(await page.getByRole("button", { name: "circle", pressed: true }).count(), 1);
  assert.equal(await maps(), 1);
  assert.ok(await page.locator(".dp-heat[src]").isHidden(), "only while the pointer is over it");
  await listed(/seed 1001/).hover();
  assert.ok(await page.locator(".dp-heat[src]").isVisible());
  await page.getByRole("button", { name: "circle" }).click();
  assert.equal(await maps(), 0);
});

test("long words, right-to-left text and 64-bit seeds fit into 320 pixels", async () => {
  const word = "Donaudampfschifffahrtsgesellschaftskapitän".repeat(3);
  await show(12, { words: [word, "قطة حمراء", ...Array(40).fill("word")], label: "q".repeat(90), reason: "שלום ".repeat(60) }, 320);
  await page.evaluate((note) => {
    const { event_of, tell } = window.fake;
    tell(event_of("7", 2, { rows: [{ row: 11, seed: "18446744073709551615 row 4095", note, kept: false, mark: "pinned" }] }));
  }, word);
  const wide = await page.$$eval(".dp-board, .dp-tiles, .dp-words, .dp-head", (all) =>
    all.map((each) => [each.className, each.scrollWidth - each.clientWidth]),
  );
  assert.ok(wide.every(([, over]) => over <= 0), JSON.stringify(wide));
  assert.ok((await page.locator(".dp-tiles").boundingBox()).height > 150, "room for tiles is left");
  assert.ok(await page.locator(".dp-tile").evaluateAll((all) => all.every((tile) => tile.scrollWidth <= tile.clientWidth)));
  if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/board-320px.png` });
});

test("everything has a name for screen readers", async () => {
  await show(2, { state: "held", seconds: 60, words: ["red"] });
  const nameless = await page.$$eval("button, select, [role], section, ul", (all) =>
    all.filter((each) => !each.getAttribute("aria-label") && !each.textContent && each.getAttribute("role") !== "status" && each.checkVisibility()).length,
  );
  assert.equal(nameless, 0);
  assert.equal(await page.getByRole("region", { name: "Seed board of node 7" }).count(), 1);
  assert.equal(await page.getByRole("list", { name: "Candidates" }).getByRole("listitem").count(), 2);
  assert.match(await page.locator('.dp-status[role="status"]').textContent(), /0 of 2 will be finished/);
});

test("a node's last board is shown again when its workflow is loaded, and does not cover a run in progress", async () => {
  await page.evaluate(async () => {
    const { addNode, board, execute, row } = window.fake;
    const node = await addNode("7");
    execute(node, { diffusion_probe_board: [board([row(0), row(1)], { state: "done" })], text: ["a report"] });
    execute(node, { text: ["no board"] });
    execute(node, null);
  });
  await page.waitForSelector(".dp-tile");
  await page.evaluate(() => window.fake.addNode("7"));
  const last = page.locator(".dp-board").nth(1);
  await last.locator(".dp-tile").nth(1).waitFor();
  assert.equal(await last.locator(".dp-report").textContent(), "a report");
  await page.evaluate(() => {
    const { addNode, board, event_of, kept, row, tell } = window.fake;
    kept.set("9", kept.get("7"));
    addNode("9");
    tell(event_of("9", 1, board([row(5)])));
  });
  await page.waitForTimeout(200);
  assert.equal(await page.getByRole("region", { name: "node 9" }).locator(".dp-tile").count(), 1, "the run that goes on");
});

test("keys stay on the board, so that Delete does not delete the node", async () => {
  await show(2);
  await page.evaluate(() => {
    window.heard = [];
    document.addEventListener("keydown", ({ key, ctrlKey }) => window.heard.push((ctrlKey ? "Ctrl+" : "") + key));
  });
  await listed(/seed 1001/).focus();
  for (const key of ["Delete", "Backspace", ".", "Control+z"]) await page.keyboard.press(key);
  assert.deepEqual(await page.evaluate(() => window.heard), ["Ctrl+Control", "Ctrl+z"]);
});

test("no error was logged meanwhile", () => assert.deepEqual(errors, []));
