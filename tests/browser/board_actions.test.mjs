// What the seed board does in the page, without ComfyUI: plain DOM in Chromium, the frontend faked by fake_host.js.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { after, before, beforeEach, test } from "node:test";
import { openPack } from "./page.mjs";

let browser, page, errors;

before(async () => {
  ({ browser, page, errors } = await openPack());
});
after(() => browser?.close());
beforeEach(async () => {
  await page.goto("http://board.test/");
  await page.evaluate(async () => {
    const fake = await import("/fake_host.js"); // the test's own handle, not the pack's
    const { BOARD_OUTPUT } = await import("/board/schema.js");
    window.fake = fake;
    /** A node 7 whose latent goes over a VAE to a saver, in a graph with another saver. */
    window.node = await fake.addNode("7");
    fake.open.prompt = {
      3: { class_type: "KSampler", inputs: { seed: 4 } },
      7: { class_type: "DiffusionProbeSeedSearch", inputs: { seed: 5, finish: "" } },
      8: { class_type: "VAEDecode", inputs: { samples: ["7", 0], vae: ["1", 2] } },
      9: { class_type: "SaveImage", inputs: { images: ["8", 0] } },
      10: { class_type: "SaveImage", inputs: { images: ["3", 0] } },
    };
    window.finished = (rows, more = {}) => ({ [BOARD_OUTPUT]: [fake.board(rows, { state: "done", ...more })], text: ["a report"] });
    /** Lets everything that was begun end. */
    window.settle = () => new Promise((resolve) => setTimeout(resolve, 60));
    /** A run of four candidates that is over: 1002 is finished, and the best. */
    window.search = async (more = {}, run = "run 1") => {
      fake.open.next = run;
      await fake.run();
      const rows = [0, 1, 2, 3].map((number) => fake.row(number, { rank: [3, 2, 1, 4][number], gone: true, kept: number === 2, finished: number === 2 }));
      fake.execute(window.node, window.finished(rows, { next_seed: "1004", elapsed: 10, all_seconds: 40, ...more }), run);
      await window.settle();
    };
  });
});

const tile = (seed) => page.getByRole("listitem", { name: new RegExp(`^seed ${seed}\\b`) });
const shown = () =>
  page.$$eval(".dp-tile", (all) => all.map(({ ariaLabel, dataset }) => [/^seed (.*?), /.exec(ariaLabel)[1], dataset.kept, dataset.mark ?? null]));
const act = (action, value) =>
  page.evaluate(async ([name, given]) => {
    await window.fake.boardOf("7").act(name, given);
    await window.settle();
  }, [action, value]);
const said = () => page.$eval(".dp-message", ({ textContent }) => textContent);
const queued = () => page.evaluate(() => window.fake.queued.slice(1)); // without the run that made the board

const search = async (more) => {
  await page.evaluate((given) => window.search(given), more);
  await tile(1002).waitFor();
};
const values = () => page.evaluate(() => window.node.values);

test("picks on a board that is over stay in the page, and are finished by one queued run", async () => {
  await search();
  await act("pin", 0);
  await act("pin", 3);
  await act("pin", 2);
  assert.equal(await said(), "This candidate is finished already.");
  assert.deepEqual(await page.evaluate(() => window.fake.sent), []);
  await act("finish");
  const [run] = await queued();
  assert.equal(run.prompt["7"].inputs.finish, "1000, 1003");
  assert.deepEqual(run.targets, ["7", "8", "9"], "what shows the survivors, and no other branch");
  assert.equal((await values()).finish, "", "the workflow is as it was");
  await act("next");
  assert.equal((await queued())[1].prompt["7"].inputs.finish, "", "only that run");
});

test("names of candidates to finish say their prompt, and variations", async () => {
  await search();
  await page.evaluate(async () => {
    const { board, execute, row } = window.fake;
    execute(window.node, window.finished([
      row(0, { seed: "507", prompt: 1, gone: true }), row(1, { seed: "507", prompt: 2 }),
      row(2, { seed: "7 variation 9 at 0.15", prompt: 3 }),
    ]));
    await window.settle();
  });
  for (const row of [0, 1, 2]) await act("pin", row);
  await act("finish");
  assert.equal((await queued())[0].prompt["7"].inputs.finish, "507, 507 prompt 2, 7 variation 9 at 0.15 prompt 3");
});

test("refuses to finish under other settings, over a link, in a muted node, and without a pick", async () => {
  await search();
  await act("finish");
  assert.match(await said(), /Pick candidates first/);
  await act("pin", 0);
  await page.evaluate(() => (window.node.settings = { cfg: 3 }));
  await act("finish");
  assert.match(await said(), /settings have changed/);
  await page.evaluate(() => (window.node.settings = { hold_for_me: true, policy: "one cut" }));
  await act("finish");
  assert.equal((await queued()).length, 1, "what decides who is finished changes no image");
  await page.evaluate(() => {
    window.node.settings = undefined;
    window.fake.open.prompt["7"].inputs.finish = ["3", 0];
  });
  await act("finish");
  assert.match(await said(), /"finish" of this node is linked/);
  await page.evaluate(() => delete window.fake.open.prompt["7"]);
  await act("finish");
  assert.match(await said(), /does not run/);
  assert.equal((await queued()).length, 1);
});

test("a run that finishes more adds to the board before, which is kept whole", async () => {
  await search();
  await act("pin", 3);
  await page.evaluate(() => (window.fake.open.next = "run 2"));
  await act("finish");
  await page.evaluate(async () => {
    const { board, event_of, row, tell } = window.fake;
    tell(event_of("7", 1, board([row(0, { seed: "1003", score: null })], { adds: true }), { prompt_id: "run 2" }));
    await window.settle();
  });
  assert.deepEqual((await shown()).map(([seed]) => seed), ["1002", "1001", "1000", "1003"]);
  await page.evaluate(async () => {
    const { event_of, execute, row, tell } = window.fake;
    tell(event_of("7", 2, { rows: [{ row: 0, at: "the end", kept: true, finished: true }] }, { prompt_id: "run 2" }));
    const done = row(0, { seed: "1003", score: null, kept: true, finished: true, at: "the end" });
    const output = window.finished([done, row(1, { seed: "77", kept: true, finished: true })], { adds: true, elapsed: 5 });
    execute(window.node, output, "run 2");
    execute(window.node, output, "run 2"); // again, as ComfyUI's history has it
    await window.settle();
  });
  const all = [["1002", "true", null], ["1001", "false", null], ["1000", "false", null], ["1003", "true", "pinned"]];
  const now = await shown();
  for (const each of all) assert.ok(now.some((row) => row.join() === each.join()), `${each} in ${JSON.stringify(now)}`);
  assert.equal(now.length, 5, "a candidate that was not on the board joins it");
  const kept = await page.evaluate(() => window.fake.kept.get("7"));
  const [board] = Object.values(kept.output)[0];
  assert.deepEqual(board.rows.map(({ seed }) => seed), ["1000", "1001", "1002", "1003", "77"]);
  assert.deepEqual([board.adds, board.elapsed, board.all_seconds, board.next_seed], [false, 15, 40, "1004"]);
  assert.match(kept.output.text[0], /a report\n\na report/);
});

test("next seeds are set and queued; large ones, or with a linked seed, as a list that wraps", async () => {
  await search();
  await page.evaluate(() => (window.node.values.seeds = "1, 2, 3"));
  await act("next");
  assert.deepEqual([(await values()).seed, (await values()).seeds], [1004, ""]);
  assert.equal((await queued())[0].targets, null);
  await page.evaluate(() => window.search({ next_seed: "18446744073709551614" }, "run 3"));
  await act("next");
  assert.equal((await values()).seeds, "18446744073709551614, 18446744073709551615, 0, 1");
  await page.evaluate(() => {
    window.node.linked = new Set(["seed", "candidates"]);
    return window.search({ next_seed: "9007199254740993" }, "run 4");
  });
  await act("next");
  assert.equal((await values()).seeds, "9007199254740993, 9007199254740994, 9007199254740995, 9007199254740996", "as many as now");
  await page.evaluate(() => window.node.linked.add("seeds"));
  await act("next");
  assert.match(await said(), /"seeds" of this node is linked/);
});

test("seeds that change before a run do not change the seeds that next asks for", async () => {
  await search();
  await page.evaluate(() => (window.fake.open.before = true));
  await act("next");
  assert.deepEqual((await queued())[0].targets, ["3", "7", "8", "9", "10"], "all nodes by name: ComfyUI changes no seed then");
});

test("varies a seed, says so when it goes on, and goes back", async () => {
  await search();
  await act("around", 1);
  assert.equal((await values()).around, "1001");
  assert.equal((await queued()).length, 1);
  await act("next");
  assert.match(await said(), /as variations of 1001/);
  await act("around", null);
  assert.equal((await values()).around, "");
  assert.equal((await queued()).length, 2, "nothing is queued to go back");
});

test("writes a seed into another node; refuses a variation and more than a number holds", async () => {
  await search();
  await page.evaluate(() => (window.fake.open.seedNodes = [{ id: "3", title: "KSampler (3)" }]));
  await act("use", { row: 1, target: "3" });
  assert.equal(await page.evaluate(() => window.fake.open.seedNodes[0].seed), 1001);
  assert.match(await said(), /Seed 1001 written into KSampler/);
  await page.evaluate(async () => {
    const { execute, row } = window.fake;
    execute(window.node, window.finished([row(0, { seed: "9007199254740992" }), row(1, { seed: "7 variation 9 at 0.15" })]));
    await window.settle();
  });
  await act("use", { row: 0, target: "3" });
  assert.match(await said(), /larger than a number field/);
  await act("use", { row: 1, target: "3" });
  assert.match(await said(), /no seed of its own/);
  assert.equal(await page.evaluate(() => window.fake.open.seedNodes[0].seed), 1001);
});

test("writes all picked seeds into the list, each once", async () => {
  await search();
  await act("useAll");
  assert.match(await said(), /Pick candidates first/);
  await act("pin", 3);
  await act("pin", 0);
  await act("useAll");
  assert.equal((await values()).seeds, "1000, 1003");
});

test("calls while a board waits: a toast, the title, the time at the node; until it ends", async () => {
  await page.evaluate(async () => {
    document.title = "my workflow - ComfyUI";
    const { board, event_of, row, tell } = window.fake;
    tell(event_of("7", 1, board([row(0), row(1)])));
    tell(event_of("7", 2, { state: "held", seconds: 125, rows: [] }));
    await window.settle();
  });
  const toast = page.locator(".dp-call");
  assert.match(await toast.textContent(), /^node 7 waits for your choice2:0\d/);
  assert.match(await page.title(), /^★ 2:0\d Choose seeds · my workflow - ComfyUI$/);
  assert.match(await page.locator(".dp-pill").textContent(), /^★ 2:0\d$/);
  const { x, y, width } = await page.locator(".dp-pill").boundingBox();
  assert.ok(Math.abs(x + width - 300) < 2 && Math.abs(y - 200) < 2, "at the corner of its node");
  await page.evaluate(() => (document.title = "[30%] KSampler"));
  await page.waitForFunction(() => document.title.startsWith("★ "));
  assert.match(await page.title(), /· \[30%\] KSampler$/);
  await toast.getByRole("button", { name: "Go to the board" }).click();
  assert.equal(await toast.count(), 0);
  assert.deepEqual(await page.evaluate(() => window.fake.visits), [["this workflow", "7"]]);
  await page.waitForFunction(() => document.activeElement.matches(".dp-tile"));
  await page.evaluate(() => window.fake.tell(window.fake.event_of("7", 3, { state: "running", rows: [] })));
  await page.waitForFunction(() => !document.querySelector(".dp-pill"));
  assert.equal(await page.title(), "[30%] KSampler");
});

test("calls for a board of another workflow, and answers for it only while it is open in a tab", async () => {
  const hold = (number) =>
    page.evaluate(async (count) => {
      const { board, event_of, row, tell } = window.fake;
      const elsewhere = { prompt_id: `run ${count}`, workflow_id: "another" };
      tell(event_of("12:4", 1, board([row(0)]), elsewhere));
      tell(event_of("12:4", 1, {}, { ...elsewhere, full: false, ask: true }));
      tell(event_of("12:4", 2, { state: "held", seconds: 60, rows: [] }, elsewhere));
      await window.settle();
    }, number);
  await hold(8);
  assert.deepEqual(await page.evaluate(() => window.fake.sent), [], "nobody can get to it");
  await page.evaluate(() => (window.fake.open.tabs = ["another"]));
  await hold(9);
  const [hello] = await page.evaluate(() => window.fake.sent);
  assert.deepEqual([hello.do, hello.prompt_id, hello.secret], ["hello", "run 9", "of 12:4"]);
  assert.equal(await page.locator(".dp-tile").count(), 0);
  await page.locator(".dp-call").last().getByRole("button", { name: "Go to the board" }).click();
  assert.deepEqual(await page.evaluate(() => window.fake.visits), [["another", "12:4"]]);
  await page.evaluate(() => window.fake.end("interrupted", { prompt_id: "run 9" }));
  await page.waitForFunction(() => document.querySelectorAll(".dp-call").length === 1);
});

test("makes a sound only if the user wants it, and no toast if not", async () => {
  const tones = (settings) =>
    page.evaluate(async (given) => {
      Object.assign(window.fake.settings, given);
      let made = 0;
      window.AudioContext = class extends AudioContext {
        constructor() {
          super();
          made += 1;
        }
      };
      const { board, event_of, row, tell } = window.fake;
      tell(event_of("7", 1, board([row(0)], { state: "held", seconds: 9 }), { prompt_id: JSON.stringify(given) }));
      await window.settle();
      return [made, document.querySelectorAll(".dp-call").length];
    }, settings);
  assert.deepEqual(await tones({}), [0, 1]);
  assert.deepEqual(await tones({ "DiffusionProbe.Sound": true, "DiffusionProbe.Toast": false }), [1, 1]);
});

test("hello says how long a page may be gone, as the user has set", async () => {
  await page.evaluate(async () => {
    window.fake.settings["DiffusionProbe.GoneSeconds"] = 90;
    window.fake.tell(window.fake.event_of("7", 1, { ask: true }));
    await window.settle();
  });
  assert.equal((await page.evaluate(() => window.fake.sent))[0].gone_seconds, 90);
});

const age = () => page.evaluate(() => window.fake.boardOf("7").state.age);

test("a board says whether the node's settings are those of its run, also after a reload", async () => {
  await search();
  assert.deepEqual([(await age()).other, (await age()).failed], [false, false]);
  await page.evaluate(async () => {
    window.node.settings = { cfg: 3 };
    window.fake.change();
    await new Promise((resolve) => setTimeout(resolve, 300));
  });
  assert.equal((await age()).other, true);
  await page.evaluate(async () => {
    const again = await window.fake.addNode("7");
    await window.settle();
    again.settings = undefined;
  });
  assert.equal((await age()).other, false);
});

for (const [what, fails] of [
  ["an error before the node", () => window.fake.run().then(() => window.fake.end("error", { prompt_id: "run 2" }))],
  ["a refused prompt", () => (window.fake.open.refuses = true) && window.fake.run()],
  ["a cancelled run", async () => {
    await window.fake.run();
    const { board, event_of, row, tell } = window.fake;
    tell(event_of("7", 1, board([row(0)]), { prompt_id: "run 2" }));
    window.fake.end("interrupted", { prompt_id: "run 2" });
  }],
]) {
  test(`marks the board after ${what}, also after a reload`, async () => {
    await search();
    await page.evaluate(() => (window.fake.open.next = "run 2"));
    await page.evaluate(fails);
    await page.waitForFunction(() => {
      const { age, state } = window.fake.boardOf("7").state;
      return age?.failed || state === "stopped"; // or the board of the run that failed
    });
    await page.evaluate(() => window.fake.addNode("7"));
    await page.waitForFunction(() => window.fake.boardOf("7").state.rows.size === 4);
    assert.equal((await age()).failed, true);
  });
}

test("a run that adds to a board and fails leaves that board as it was", async () => {
  await search();
  await act("pin", 0);
  await page.evaluate(() => (window.fake.open.next = "run 2"));
  await act("finish");
  await page.evaluate(async () => {
    const { board, end, event_of, row, tell } = window.fake;
    tell(event_of("7", 1, board([row(0, { kept: true })], { adds: true }), { prompt_id: "run 2" }));
    await window.settle();
    end("error", { prompt_id: "run 2" });
    await window.settle();
  });
  assert.equal((await age()).failed, true);
  assert.deepEqual((await shown()).find(([seed]) => seed === "1000"), ["1000", "false", "pinned"]);
});

test("a run that ended while the page was away is on its board as soon as it is back", async () => {
  await search();
  await page.evaluate(async () => {
    window.fake.open.next = "run 2";
    await window.fake.run();
    const { board, event_of, row, tell } = window.fake;
    tell(event_of("7", 1, board([row(5)], { state: "held", seconds: 60 }), { prompt_id: "run 2" }));
    await window.settle();
    const done = row(5, { kept: true, finished: true });
    const outputs = { 7: window.finished([done]), 9: { images: [{ filename: "a.png", subfolder: "", type: "output" }] } };
    window.fake.open.past = { "run 2": { outputs, success: true } };
    window.fake.drop();
    await window.settle();
  });
  assert.deepEqual(await shown(), [["1005", "true", null]]);
  assert.deepEqual((await images()).map(([row, { name }]) => [row, name]), [[5, "a.png"]]);
  assert.equal(await page.locator(".dp-call, .dp-pill").count(), 0);
});

test("a node that is removed in the middle of its run breaks nothing", async () => {
  await page.evaluate(async () => {
    const { board, event_of, execute, nodes, row, tell } = window.fake;
    tell(event_of("7", 1, board([row(0)])));
    await window.settle();
    delete nodes["7"];
    tell(event_of("7", 2, { state: "held", seconds: 60, rows: [], ask: true }));
    execute("7", window.finished([row(0)]));
    await window.settle();
  });
  assert.equal(await page.locator(".dp-pill:visible").count(), 0);
  assert.deepEqual(await page.evaluate(() => window.fake.sent), [], "nobody can choose there");
});

test("an error after the node leaves its board as it is", async () => {
  await search();
  await page.evaluate(async () => {
    window.fake.end("error", { prompt_id: "run 1", executed: ["7"] });
    await window.settle();
  });
  assert.equal((await age()).failed, false);
});

const images = () => page.evaluate(() => [...window.fake.boardOf("7").state.images]);
const save = (node, files, run = "run 1") =>
  page.evaluate(async ([id, names, prompt]) => {
    const list = names.map((name) => ({ filename: name, subfolder: "", type: name.startsWith("temp") ? "temp" : "output" }));
    window.fake.execute(id, { images: list }, prompt);
    await window.settle();
  }, [node, files, run]);

test("finished images are those of a node behind this one, as many as survivors; saved ones first", async () => {
  await search();
  await save("10", ["other.png"]);
  assert.deepEqual(await images(), [], "another branch");
  await save("9", ["a.png", "b.png"]);
  assert.deepEqual(await images(), [], "another number");
  await save("9", ["a.png"]);
  assert.deepEqual(await images(), [[2, { url: "/view?filename=a.png&subfolder=&type=output", name: "a.png" }]]);
  await save("9", ["temp.png"]);
  assert.equal((await images())[0][1].name, "a.png", "a saved file stays");
  await page.evaluate(() => window.fake.addNode("7"));
  await page.waitForFunction(() => window.fake.boardOf("7").state.images.size === 1);
  await page.evaluate(() => window.search({}, "run 5"));
  assert.deepEqual(await images(), [], "a new run has none yet");
});

test("images go to the rows in the order that the node returns: best first, or as they are where a filter keeps rows", async () => {
  const order = (kind) =>
    page.evaluate(async (given) => {
      const { ended, EMPTY, survivors } = await import("/board/state.js");
      const { row } = window.fake;
      const rows = [row(0, { rank: 3, kept: true }), row(1, { rank: 1, kept: true }), row(2, { rank: 4, kept: true, mark: "pinned" }), row(3, { rank: 2 })];
      return survivors(ended(EMPTY, window.fake.board(rows, given), "")).map((each) => each.row);
    }, kind);
  assert.deepEqual(await order({ kind: "search" }), [2, 1, 0]);
  assert.deepEqual(await order({ kind: "filter" }), [0, 1, 2]);
  assert.deepEqual(await order({ kind: "search", adds: true }), [0, 1, 2]);
});

test("previews that went away with the server are not shown", async () => {
  await search();
  await save("9", ["temp.png"]);
  assert.equal((await images()).length, 1);
  await page.evaluate(async () => {
    window.fake.open.files = false;
    await window.fake.addNode("7");
    await window.settle();
  });
  assert.equal(await page.evaluate(() => window.fake.boardOf("7").state.rows.size), 4);
  assert.deepEqual(await images(), []);
});

test("images of candidates that were finished later join those before", async () => {
  await search();
  await save("9", ["best.png"]);
  await act("pin", 3);
  await page.evaluate(() => (window.fake.open.next = "run 2"));
  await act("finish");
  await page.evaluate(async () => {
    const { execute, row } = window.fake;
    execute(window.node, window.finished([row(0, { seed: "1003", kept: true, finished: true })], { adds: true }), "run 2");
    await window.settle();
  });
  await save("9", ["later.png"], "run 2");
  assert.deepEqual((await images()).map(([row, { name }]) => [row, name]), [[2, "best.png"], [3, "later.png"]]);
});

test("a run of another workflow that ends is kept there, and not shown here", async () => {
  await search();
  await page.evaluate(async () => {
    window.fake.open.next = "run 2";
    await window.fake.run();
    window.fake.open.workflow = "another"; // the user went to another tab, with a node 7 of its own
    const { execute, row } = window.fake;
    execute("7", window.finished([row(0, { seed: "1", kept: true, finished: true })]), "run 2");
    execute("9", { images: [{ filename: "a.png", subfolder: "", type: "output" }] }, "run 2");
    await window.settle();
  });
  assert.equal((await shown()).length, 4);
  const { output, about } = await page.evaluate(() => window.fake.kept.get("7"));
  assert.deepEqual(Object.values(output)[0][0].rows.map(({ seed }) => seed), ["1"]);
  assert.deepEqual(about.files.map(([row, { filename }]) => [row, filename]), [[0, "a.png"]]);
});

test("an output that ComfyUI shows again changes nothing if it is that of the board", async () => {
  await search();
  await save("9", ["a.png"]);
  await page.evaluate(async () => {
    const { row, showAgain } = window.fake;
    const rows = [0, 1, 2, 3].map((number) => row(number, { gone: true }));
    showAgain(window.node, window.finished(rows));
    await window.settle();
  });
  assert.equal((await images()).length, 1);
  await page.evaluate(async () => {
    const { open, row, showAgain } = window.fake;
    open.outputs = { 9: { images: [{ filename: "old.png", subfolder: "x", type: "output" }] } };
    showAgain(window.node, window.finished([row(0, { seed: "5", kept: true })]));
    await window.settle();
  });
  assert.deepEqual((await shown()).map(([seed]) => seed), ["5"], "an earlier run");
  assert.equal((await images())[0][1].name, "x/old.png");
  const [board] = Object.values((await page.evaluate(() => window.fake.kept.get("7"))).output)[0];
  assert.equal(board.rows.length, 4, "the last run stays kept");
});

test("a larger picture is asked for from the run that drew it", async () => {
  await page.evaluate(async () => {
    const { board, event_of, row, tell } = window.fake;
    tell(event_of("7", 1, board([row(0), row(1)])));
    await window.settle();
  });
  await search();
  const ask = () => page.evaluate(() => window.fake.boardOf("7").picture(1));
  assert.equal(await ask(), null, "the server has none");
  await page.evaluate(() => (window.fake.open.picture = window.fake.PIXEL));
  assert.equal(await ask(), await page.evaluate(() => window.fake.PIXEL));
  const { do: action, row, prompt_id: run, secret } = (await page.evaluate(() => window.fake.sent)).at(-1);
  assert.deepEqual([action, row, run, secret], ["picture", 1, "run 1", "of 7"]);
  await page.evaluate(() => (window.fake.open.picture = "https://elsewhere.test/x.png"));
  assert.equal(await ask(), null);
});

test("the size of tiles is kept in the browser, and a dismissed board is gone", async () => {
  await search();
  await act("size", 200);
  await page.evaluate(() => window.fake.addNode("7"));
  await page.waitForFunction(() => window.fake.boardOf("7").state.size === 200);
  await act("dismiss");
  assert.equal(await page.locator(".dp-board").last().locator(".dp-tile").count(), 0);
  assert.equal(await page.evaluate(() => window.fake.kept.size), 0);
});

test("boards that earlier versions kept are shown, and those with values of another kind break nothing", async () => {
  const rows = await page.evaluate(async () => {
    const { addNode, kept, row } = window.fake;
    const counts = [];
    for (const about of [undefined, {}, { files: [], from: [], after: [], failed: true }]) {
      kept.set("7", { time: 5, output: window.finished([row(0), row(1)]), about });
      await addNode("7");
      await window.settle();
      counts.push(window.fake.boardOf("7").state.rows.size, window.fake.boardOf("7").state.age.time);
    }
    return counts;
  });
  assert.deepEqual(rows, [2, 5, 2, 5, 2, 5]);
});

test("every shipped workflow says that it is a template, so that opening it gives it an id of its own", async () => {
  const folder = new URL("../../workflows/", import.meta.url);
  const names = (await readdir(folder)).filter((name) => name.endsWith(".json"));
  assert.ok(names.length > 10);
  const all = await Promise.all(names.map(async (name) => [name, JSON.parse(await readFile(new URL(encodeURIComponent(name), folder), "utf-8"))]));
  assert.deepEqual(all.filter(([, { extra }]) => extra.diffusion_probe_template !== true).map(([name]) => name), []);
});

test("nothing was logged meanwhile", () => assert.deepEqual(errors, []));
