// What a board shows, and what its user can do with it: the view alone in Chromium, with states made by hand.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { openPack } from "./page.mjs";

let browser, page, errors;

before(async () => {
  ({ browser, page, errors } = await openPack());
  page.setDefaultTimeout(4_000);
});
after(() => browser?.close());

/** An empty page with a view on an element of that size. */
async function open(width = 420, height = 600, language = "en") {
  await page.goto("http://board.test/");
  await page.evaluate(async (size) => {
    window.v = await import("/fake_view.js");
    await window.v.open(...size);
    document.addEventListener("keydown", ({ key }) => (window.heard ??= []).push(key));
    document.addEventListener("wheel", () => (window.heard ??= []).push("wheel"));
  }, [width, height, language]);
}
beforeEach(() => open());

const run = (count, more = {}) => page.evaluate(([count, more]) => void window.v.run(window.v.scored(count), more), [count, more]);
/** A search of six that is over: the first is finished, the last was not started. */
const over = (more = {}, beside = {}) =>
  page.evaluate(([more, beside]) => {
    const { end, picture, scored } = window.v;
    const lost = { score: null, rank: null, place: null, at: null, picture: null };
    const rows = scored(6, (n) => ({ kept: n === 0, finished: n === 0, at: n ? "step 4" : "the end", gone: true, ...(n === 5 ? lost : {}) }));
    const images = new Map([[0, { url: picture(7, 300), name: "image_00001_.png" }]]);
    end(rows, { next_seed: "506", ...more }, { images, ...beside });
  }, [more, beside]);
const acts = () => page.evaluate(() => window.v.acts);
const tile = (seed) => page.getByRole("listitem", { name: new RegExp(`^seed ${seed}`) });
const large = (seed = "") => page.getByRole("dialog", { name: new RegExp(`^seed ${seed}`) });
const focused = () => page.evaluate(() => document.activeElement.ariaLabel ?? document.activeElement.className);
const textOf = (selector) => page.locator(selector).innerText();

test("tiles say the seed, and for a variation the seed it is around", async () => {
  await page.evaluate(() => {
    const { row, run } = window.v;
    run([row(7), row(8, { seed: "507 variation 512 at 0.15" }), row(9, { seed: "507 variation 512 at 0.15 variation 3 at 0.1" })]);
  });
  assert.deepEqual(await page.locator(".dp-seed").allInnerTexts(), ["seed 507", "512 around 507", "3 around 512 around 507"]);
});

test("says what is scored, and that higher is better; by score is by score, best first is by rank", async () => {
  await page.evaluate(() => {
    const { row, run } = window.v;
    run([row(0, { score: 0.1, rank: 1, place: 0 }), row(1, { score: 0.9, rank: 2, place: 100 }), row(2), row(3, { score: 0.5, rank: 3, place: 50 })]);
  });
  assert.equal(await textOf(".dp-about"), "ImageReward, higher is better");
  const order = () => page.$$eval(".dp-tile", (all) => all.map((each) => each.dataset.seed));
  assert.deepEqual(await order(), ["500", "501", "503", "502"]);
  await page.getByRole("combobox", { name: "Order" }).selectOption({ label: "by score" });
  assert.deepEqual(await order(), ["501", "503", "500", "502"]);
});

test("without scores there is neither rank nor bar, and no order by score", async () => {
  await page.evaluate(() => window.v.run([window.v.row(0), window.v.row(1)], { chooses: true, label: "" }));
  assert.equal(await page.locator(":is(.dp-rank, .dp-score, .dp-bar, .dp-about):visible").count(), 0);
  assert.deepEqual(await page.locator(".dp-sort option:not([hidden])").allInnerTexts(), ["in their order", "by seed"]);
});

test("outcomes of a search that is over are said in words", async () => {
  await over();
  assert.deepEqual(await page.locator(".dp-outcome").allInnerTexts(), [
    "finished", ...Array(4).fill("dropped at step 4"), "not started: the budget went to better ones",
  ]);
});

test("time counts in the page between events, and at the end says what was saved", async () => {
  await page.evaluate(() => {
    const now = performance.now.bind(performance);
    const ticks = new Map();
    let late = 0;
    performance.now = () => now() + late;
    window.setInterval = (tick) => ticks.set(ticks.size, tick).size - 1;
    window.clearInterval = (timer) => ticks.set(timer, () => {});
    window.pass = (seconds) => {
      late += 1000 * seconds;
      for (const tick of ticks.values()) tick();
    };
  });
  const pass = (seconds) => page.evaluate((seconds) => window.pass(seconds), seconds);
  await run(3, { elapsed: 12, left: 100 });
  assert.equal(await textOf(".dp-time"), "12 s, about 1 min 40 s left");
  await pass(5);
  assert.equal(await textOf(".dp-time"), "17 s, about 1 min 35 s left");
  await page.evaluate(() => window.v.show({ ...window.v.state, sort: "seed" }));
  assert.equal(await textOf(".dp-time"), "17 s, about 1 min 35 s left", "another order starts no clock anew");
  await pass(200);
  assert.equal(await textOf(".dp-time"), "3 min 37 s, about 1 s left", "never less");
  await run(3, { state: "held", seconds: 125 });
  assert.equal(await textOf(".dp-left"), "2 min 5 s left");
  await pass(2);
  assert.equal(await textOf(".dp-left"), "2 min 3 s left");
  await over({ elapsed: 58, all_seconds: 220 });
  assert.equal(await textOf(".dp-time"), "6 seeds, 1 finished: 58 s instead of 3 min 40 s");
  await over({ elapsed: 250, all_seconds: 220 });
  assert.equal(await textOf(".dp-time"), "6 seeds, 1 finished: 4 min 10 s; finishing all takes about 3 min 40 s");
  await over({ elapsed: 3660 });
  assert.equal(await textOf(".dp-time"), "6 seeds, 1 finished: 1 h 1 min");
});

test("a board of another run says of when it is, and whether settings differ or the last run failed", async () => {
  await over({}, { age: { time: Date.now() - 200_000, other: false, failed: false } });
  assert.equal(await textOf(".dp-progress"), "ImageReward, higher is better\nLast run 3 minutes ago");
  const age = async (more) => {
    await over({}, { age: { time: Date.now() - 7_300_000, other: false, failed: false, ...more } });
    return textOf(".dp-age");
  };
  assert.equal(await age({ other: true }), "Last run 2 hours ago, with other settings");
  assert.equal(await age({ failed: true }), "The last run failed. This board is of the run before, 2 hours ago.");
  assert.equal(await age({ failed: true, time: null }), "The last run failed. This board is of the run before.");
  await page.getByRole("button", { name: "Remove this board" }).click();
  assert.deepEqual(await acts(), [["dismiss", undefined]]);
});

test("where the user chooses, the go button says how many are finished, and needs one", async () => {
  await page.evaluate(() => window.v.run([0, 1, 2].map((n) => window.v.row(n)), { chooses: true, label: "", state: "held", seconds: 60 }));
  assert.match(await textOf(".dp-held"), /Pick what to finish, then go on/);
  assert.ok(await page.getByRole("button", { name: "Finish 0 picked" }).isDisabled());
  await page.getByRole("button", { name: "Pick seed 500" }).click();
  await page.getByRole("button", { name: "Pick seed 502" }).click();
  await page.getByRole("button", { name: "Finish 2 picked" }).click();
  assert.deepEqual(await acts(), [["pin", 0], ["pin", 2], ["go", undefined]]);
  await page.evaluate(() => window.v.end([window.v.row(0, { kept: false })], { chooses: true }));
  assert.equal(await textOf(".dp-status"), "Nothing was picked, so nothing was finished.");
});

test("after a run, picked candidates are finished or written into seeds, and the next seeds are run", async () => {
  await over();
  assert.ok(await page.getByRole("button", { name: "Finish picked (0)" }).isDisabled());
  assert.ok(await page.getByRole("button", { name: "Pick seed 500" }).isDisabled(), "it is finished");
  await page.getByRole("button", { name: "Pick seed 503" }).click();
  await page.evaluate(() => window.v.show({ ...window.v.state, canSend: { next: true, finish: true } }));
  await page.getByRole("button", { name: "Finish picked (1)" }).click();
  await page.getByRole("button", { name: "Picked seeds into “seeds”" }).click();
  await page.getByRole("button", { name: "Next seeds" }).click();
  assert.deepEqual(await acts(), [["pin", 3], ["finish", undefined], ["useAll", undefined], ["next", undefined]]);
  await page.evaluate(() => window.v.show({ ...window.v.state, around: "503" }));
  assert.match(await textOf(".dp-over"), /Variations of 503: stop/);
  await page.getByRole("button", { name: "Variations of 503: stop" }).click();
  assert.deepEqual((await acts()).at(-1), ["around", null]);
  await run(2);
  assert.ok(await page.locator(".dp-over").isHidden(), "not while a run goes on");
});

test("a tile's menu copies the seed, sends it to a node, varies it, and works by keys alone", async () => {
  await over();
  const more = page.getByRole("button", { name: "More for seed 502" });
  await more.click();
  const items = await page.getByRole("menuitem").allInnerTexts();
  assert.deepEqual(items.slice(0, 4), ["Copy the seed", "Use this seed in KSampler", "Use this seed in Another KSampler", "Variations around this one"]);
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  assert.equal(await page.getByRole("menu").count(), 0);
  await more.click();
  await page.keyboard.press("Escape");
  assert.equal(await page.getByRole("menu").count(), 0);
  assert.equal(await focused(), "More for seed 502");
  await more.click();
  await page.getByRole("menuitem", { name: "Variations" }).click();
  assert.deepEqual(await acts(), [["use", { row: 2, target: "9" }], ["around", 2]]);
});

test("a click opens a large view, with the small picture until the large one is there", async () => {
  await over();
  const [small, big] = await page.evaluate(async () => {
    const { picture } = window.v;
    return [picture(2, 96), picture(2, 512)];
  });
  await page.evaluate(() => void (window.v.wait.now = new Promise((answer) => (window.answer = answer))));
  await tile(502).locator(".dp-picture").click();
  const image = large(502).locator(".dp-img");
  assert.equal(await image.getAttribute("src"), small);
  await page.evaluate(() => window.answer());
  await page.waitForFunction((url) => document.querySelector(".dp-large .dp-img").src === url, big);
  assert.match(await large().innerText(), /seed 502\s+rank 3 of 6 · score 1\.074 · dropped at step 4/);
  const box = await image.boundingBox();
  assert.ok(Math.min(box.width, box.height) > 400, JSON.stringify(box));
  assert.deepEqual(await page.evaluate(() => window.v.asked), [2]);
});

test("in the large view arrows move, P and X mark, and Escape gives the focus back", async () => {
  await run(4);
  await tile(501).focus();
  await page.keyboard.press(" ");
  await large(501).waitFor();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("p");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight"); // the last: it stays
  await page.keyboard.press("x");
  await page.mouse.wheel(0, 100);
  for (let times = 0; times < 12; times += 1) {
    await page.keyboard.press("Tab");
    assert.ok(await page.evaluate(() => Boolean(document.activeElement.closest("dialog"))), "focus stays in it");
  }
  await page.keyboard.press("Escape");
  await large().waitFor({ state: "detached" });
  assert.match(await focused(), /^seed 503/);
  assert.deepEqual(await acts(), [["pin", 2], ["discard", 3]]);
  assert.equal(await page.evaluate(() => window.heard), undefined, "the page below receives neither keys nor wheel");
});

test("the space bar closes the large view again, and goes on picking nothing", async () => {
  await run(2);
  await tile(500).focus();
  for (const open of [true, false]) {
    await page.keyboard.press(" ");
    await large().waitFor({ state: open ? "visible" : "detached" });
  }
  assert.deepEqual(await acts(), []);
});

test("a finished image is on its tile and in the large view, beside the early picture and its file", async () => {
  await over();
  const images = await page.evaluate(() => [window.v.picture(7, 300), window.v.picture(0, 512)]);
  assert.equal(await tile(500).locator(".dp-img").getAttribute("src"), images[0]);
  await tile(500).click();
  const source = () => large().locator(".dp-img").getAttribute("src");
  assert.equal(await source(), images[0]);
  assert.equal(await page.getByRole("link", { name: "image_00001_.png" }).getAttribute("target"), "_blank");
  await page.getByRole("button", { name: "Finished image", pressed: true }).click();
  await page.waitForFunction((early) => document.querySelector(".dp-large .dp-img").src === early, images[1]);
});

test("a finished image whose file is gone gives way to the early picture", async () => {
  await over();
  await page.evaluate(() => {
    const { show, state } = window.v;
    show({ ...state, images: new Map([[0, { url: "data:image/png;base64,gone", name: "gone.png" }]]) });
  });
  const early = await page.evaluate(() => window.v.picture(0, 96));
  await page.waitForFunction((url) => document.querySelector(".dp-tile .dp-img").src === url, early);
  await tile(500).click();
  await page.waitForFunction((url) => document.querySelector(".dp-large .dp-img").src === url, early);
});

test("a word's map lies over the large picture until its word is clicked again", async () => {
  await page.evaluate(() => {
    const { picture, run, scored } = window.v;
    run(scored(2, () => ({ heats: { 0: picture(5, 16) } })), { words: ["fox"] });
  });
  await tile(500).click();
  const map = large().locator(".dp-heat");
  assert.ok(await map.isHidden());
  await large().getByRole("button", { name: "fox" }).click();
  assert.ok(await map.isVisible());
  await large().getByRole("button", { name: "fox", pressed: true }).click();
  assert.ok(await map.isHidden());
});

test("two candidates are compared by a divider, which follows the mouse and the arrow keys", async () => {
  await run(4);
  await tile(500).click();
  await large().getByRole("button", { name: "Compare" }).click();
  const dialog = page.getByRole("dialog", { name: "seed 500 beside seed 501" });
  const divider = dialog.getByRole("slider", { name: "Divider between seed 500 and seed 501" });
  await divider.waitFor();
  const shares = () =>
    page.$eval(".dp-pair", (pair) => {
      const { left, width } = pair.getBoundingClientRect();
      const edge = pair.querySelector(".dp-edge").getBoundingClientRect();
      const clip = (name) => getComputedStyle(pair.querySelector(name)).clipPath;
      return [Math.round((100 * (edge.left + edge.width / 2 - left)) / width), clip(".dp-left"), clip(".dp-right")];
    });
  assert.equal((await shares())[0], 50);
  await page.keyboard.press("ArrowLeft");
  assert.deepEqual(await shares(), [45, "inset(0px 55% 0px 0px)", "inset(0px 0px 0px 45%)"]);
  const box = await divider.boundingBox();
  await page.mouse.move(box.x + 0.8 * box.width, box.y + box.height / 2);
  assert.equal((await shares())[0], 80);
  await dialog.getByRole("combobox", { name: "Right picture" }).selectOption({ label: "seed 503" });
  await page.getByRole("dialog", { name: "seed 500 beside seed 503" }).getByRole("button", { name: "Pick seed 503" }).click();
  await page.getByRole("button", { name: "Swap sides" }).click();
  await page.getByRole("dialog", { name: "seed 503 beside seed 500" }).waitFor();
  await page.keyboard.press("Escape");
  await large(500).waitFor();
  assert.deepEqual(await acts(), [["pin", 3]]);
});

test("two tiles are chosen to be compared by shift and click, or by V", async () => {
  await run(3);
  await tile(502).click({ modifiers: ["Shift"] });
  await tile("502.*chosen to compare").waitFor();
  await tile(501).focus();
  await page.keyboard.press("v");
  await page.getByRole("dialog", { name: "seed 502 beside seed 501" }).waitFor();
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("[data-chosen]").count(), 0);
});

test("a candidate that leaves the board closes its large view", async () => {
  await run(3);
  await tile(502).click();
  await large(502).waitFor();
  await run(2);
  await page.waitForSelector("dialog", { state: "detached" });
});

test("the board moves over the whole page and back, and tiles grow with their room", async () => {
  await run(6);
  const width = () => page.locator(".dp-tile").first().evaluate((each) => each.offsetWidth);
  const inNode = await width();
  await page.getByRole("button", { name: "Show the board over the whole page" }).click();
  const dialog = page.getByRole("dialog", { name: "Seed board of Seed Search" });
  assert.equal(await dialog.getByRole("listitem").count(), 6);
  await page.waitForFunction((least) => document.querySelector(".dp-tile").offsetWidth > least, inNode);
  assert.ok(await page.locator(".dp-tiles").evaluate((list) => list.scrollHeight <= list.clientHeight), "all are visible");
  await tile(500).click();
  await large(500).waitFor();
  await page.keyboard.press("Escape");
  await dialog.getByRole("button", { name: "Put the board back into the node" }).click();
  await page.waitForSelector(".frame > .dp-board");
  assert.equal(await focused(), "Show the board over the whole page");
  await page.waitForFunction((wanted) => document.querySelector(".dp-tile").offsetWidth === wanted, inNode);
});

test("tiles have the size of the slider, or fill the room again", async () => {
  await run(3);
  const widths = () => page.$$eval(".dp-tile", (all) => all.map((each) => Math.round(each.offsetWidth)));
  const slider = page.getByRole("slider", { name: "Size of the tiles" });
  assert.deepEqual([await slider.getAttribute("min"), await slider.getAttribute("max")], ["64", "512"]);
  await slider.fill("96");
  assert.deepEqual(await widths(), [96, 96, 96]);
  await slider.fill("512");
  assert.ok((await widths()).every((each) => each > 350 && each <= 404), "no wider than the board");
  await page.getByRole("button", { name: "Size the tiles so that all are visible" }).click();
  const [fitted] = await widths();
  assert.ok(fitted > 96 && fitted < 350, String(fitted));
  assert.deepEqual((await acts()).map(([, value]) => value), [96, 512, null]);
});

test("pictures keep their shape: a tall one is neither cut off nor padded", async () => {
  await page.evaluate(() => {
    window.v.setShape(0.5, 1);
    window.v.run(window.v.scored(4));
  });
  await page.waitForFunction(() => {
    const { width, height } = document.querySelector(".dp-picture").getBoundingClientRect();
    return Math.abs(width / height - 0.5) < 0.02;
  });
});

test("buttons are beside the picture and not over it", async () => {
  await run(2);
  await page.waitForFunction(() => [...document.querySelectorAll(".dp-tile")].every((each) => { // drawn in the next frame
    const { bottom, height } = each.querySelector(".dp-picture").getBoundingClientRect();
    return height > 0 && [...each.querySelectorAll("button:not([hidden])")].every((button) => button.getBoundingClientRect().top >= bottom);
  }));
});

test("prompts take one line and open, in their own direction; 100 words scroll", async () => {
  const words = Array.from({ length: 100 }, (_, number) => `word${number}`);
  await run(2, { prompts: ["一只红色的狐狸，水彩画，".repeat(20), "ثعلب أحمر على تل عند الغروب"], words });
  const head = page.locator(".dp-prompt summary");
  assert.ok((await head.boundingBox()).height < 24);
  await head.click();
  const lines = await page.$$eval(".dp-prompts > div", (all) => all.map((each) => [each.textContent.slice(0, 2), getComputedStyle(each).direction, each.getBoundingClientRect().height > 24]));
  assert.deepEqual(lines, [["1:", "ltr", true], ["2:", "rtl", false]]);
  const chips = page.locator(".dp-words");
  assert.equal(await chips.getByRole("button").count(), 100);
  await chips.hover();
  await page.mouse.wheel(0, 200);
  await page.waitForFunction(() => document.querySelector(".dp-words").scrollTop > 0);
  assert.equal(await page.evaluate(() => window.heard), undefined, "the canvas below does not zoom");
});

for (const language of ["en", "zh"]) {
  test(`no text is cut off at any width (${language})`, async () => {
    for (const width of [300, 420, 800]) {
      await open(width, 700, language);
      await over({ elapsed: 58, all_seconds: 220 }, { age: { time: Date.now() - 200_000, other: true } });
      const cut = await page.$$eval(".dp-board :is(span, bdi, button, b)", (all) =>
        all.filter((each) => each.clientWidth && each.scrollWidth > each.clientWidth + 1).map((each) => each.className));
      assert.deepEqual(cut, [], `${width} px`);
      const outside = await page.$$eval(".dp-board :is(button, select, input, .dp-tile):not(.dp-tiles *)", (all) => {
        const { left, right } = document.querySelector(".dp-board").getBoundingClientRect();
        return all.filter((each) => each.checkVisibility()).map((each) => [each.className, each.getBoundingClientRect()])
          .filter(([, box]) => box.left < left || box.right > right).map(([name]) => name);
      });
      assert.deepEqual(outside, [], `${width} px`);
    }
  });
}

test("texts of losers are as readable as others", async () => {
  await over();
  const faint = await page.$$eval(".dp-tile, .dp-tile :is(span, bdi, b)", (all) => all.filter((each) => Number(getComputedStyle(each).opacity) < 1).length);
  assert.equal(faint, 0);
  assert.ok(await tile(503).locator(".dp-img").evaluate((each) => Number(getComputedStyle(each).opacity) >= 0.7));
});

test("of 200 candidates a change touches one tile, and a new order makes none", async () => {
  const [first, second, third] = await page.evaluate(() => {
    const { run, scored, show, state } = window.v;
    const rows = scored(200);
    const done = [run(rows)];
    const changed = new Map(window.v.state.rows);
    changed.set(7, { ...changed.get(7), score: 9 });
    done.push(show({ ...window.v.state, rows: changed }), show({ ...window.v.state, sort: "score" }));
    return done;
  });
  assert.deepEqual([first.made, second.made, third.made], [200, 0, 0]);
  assert.deepEqual([second.changed, second.moved], [1, 0]);
  assert.deepEqual([third.changed, third.moved], [0, 1]);
});

test("no error was logged meanwhile", () => assert.deepEqual(errors, []));
