// "Control after generate" of Seed Search and Seed Batch: the seeds of one run never come again in the next.
// The real frontend in both renderers; what Run sends is caught on its way, so that nothing is sampled.
// Started by test_frontend.py with COMFYUI_URL and SCREENSHOTS.
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { RENDERERS, closeUp, openFrontend } from "./page.mjs";

const { COMFYUI_URL, SCREENSHOTS } = process.env;
const SEARCH = "DiffusionProbeSeedSearch";
const BATCH = "DiffusionProbeSeedBatch";
const LARGEST = 2 ** 53 - 1;

for (const [renderer, vue] of RENDERERS) {
  describe(`the control of seeds (${renderer})`, () => {
    let browser, page, errors, sent;

    before(async () => {
      ({ browser, page, errors } = await openFrontend(COMFYUI_URL, { settings: { "Comfy.VueNodes.Enabled": vue } }));
      await page.route("**/api/prompt", async (route) => {
        if (route.request().method() !== "POST") return route.continue();
        sent.push(route.request().postDataJSON().prompt);
        const answer = { prompt_id: crypto.randomUUID(), number: sent.length, node_errors: {} };
        return route.fulfill({ json: answer });
      });
    });
    beforeEach(async () => {
      sent = [];
      await page.evaluate((type) => {
        const { app, LiteGraph } = window;
        app.rootGraph.clear();
        app.rootGraph.add(LiteGraph.createNode(type));
      }, SEARCH);
      await set(SEARCH, { seed: 100, candidates: 16, seeds: "", control_after_generate: "increment" });
    });
    after(() => browser?.close());

    const set = (type, values) =>
      page.evaluate(([wanted, all]) => {
        for (const node of window.app.rootGraph.nodes.filter((each) => each.type === wanted)) {
          for (const [name, value] of Object.entries(all)) node.widgets.find((each) => each.name === name).value = value;
        }
      }, [type, values]);
    const value = (type, name) =>
      page.evaluate(([wanted, widget]) => {
        const node = window.app.rootGraph.nodes.find((each) => each.type === wanted);
        return node.widgets.find((each) => each.name === widget).value;
      }, [type, name]);

    /** Queues the workflow some times as Run does, and returns what the node of a type got for its seed. */
    async function queued(times, type = SEARCH, name = "seed") {
      const from = sent.length;
      for (let time = 0; time < times; time += 1) await page.evaluate(() => window.app.queuePrompt(0, 1));
      return sent.slice(from).map((prompt) => Object.values(prompt).find((node) => node.class_type === type).inputs[name]);
    }

    /** A test of what no renderer changes: in one of them. */
    const once = vue ? () => {} : test;
    const setMode = (mode) => page.evaluate((each) => window.app.extensionManager.setting.set("Comfy.WidgetControlMode", each), mode);
    
    test("Run, pressed three times, samples 48 seeds and none of them twice", async () => {
      await page.waitForFunction((type) => window.app.rootGraph.nodes.some((node) => node.type === type), SEARCH);
      for (let time = 1; time <= 3; time += 1) {
        await page.getByRole("button", { name: /^Run/ }).first().click();
        for (let tries = 0; tries < 100 && sent.length < time; tries += 1) await page.waitForTimeout(50);
        await page.waitForTimeout(100);
      }
      const firsts = sent.map((prompt) => Object.values(prompt).find((node) => node.class_type === SEARCH).inputs.seed);
      const seeds = firsts.flatMap((first) => Array.from({ length: 16 }, (_, index) => first + index));
      assert.equal(seeds.length, 48);
      assert.equal(new Set(seeds).size, 48, `${firsts}`);
      assert.equal(await value(SEARCH, "seed"), 148);
      const [id] = await page.evaluate((type) => window.app.rootGraph.nodes.filter((node) => node.type === type).map((node) => node.id), SEARCH);
      await closeUp(page, id);
      await page.screenshot({ path: `${SCREENSHOTS}/seed-control-${renderer}.png` });
      if (vue) await page.locator('[role="spinbutton"][aria-valuenow="148"]').waitFor();
    });

    once("decrement moves down by the number of candidates, and fixed not at all", async () => {
      await set(SEARCH, { control_after_generate: "decrement" });
      assert.deepEqual(await queued(3), [100, 84, 68]);
      await set(SEARCH, { control_after_generate: "fixed" });
      assert.deepEqual(await queued(2), [52, 52]);
    });

    once("randomize draws whole numbers from all that a number field holds exactly", async () => {
      await set(SEARCH, { control_after_generate: "randomize" });
      const drawn = (await queued(24)).slice(1);
      assert.equal(new Set(drawn).size, 23);
      assert.ok(drawn.every((seed) => Number.isSafeInteger(seed) && seed >= 0));
      assert.ok(Math.max(...drawn) > 2 ** 52, "ComfyUI's own goes to 2^50");
      assert.ok(drawn.some((seed) => seed % 2), "odd ones, too");
    });

    once("a list of seeds takes the position of the seed, which then stays", async () => {
      for (const mode of ["increment", "randomize"]) {
        await set(SEARCH, { seeds: "7, 8", control_after_generate: mode });
        assert.deepEqual(await queued(2), [100, 100]);
      }
      await set(SEARCH, { seeds: " \n", control_after_generate: "increment" });
      assert.deepEqual(await queued(2), [100, 116]);
    });

    once("the control can act before a run, and doesn't for a run of some nodes", async () => {
      await setMode("before");
      try {
        assert.deepEqual(await queued(3), [100, 116, 132]);
      } finally {
        await setMode("after");
      }
      const [id] = await page.evaluate((type) => window.app.rootGraph.nodes.filter((node) => node.type === type).map((node) => node.id), SEARCH);
      await page.evaluate((only) => window.app.queuePrompt(0, 1, [String(only)]), id);
      assert.equal(await value(SEARCH, "seed"), 132);
    });

    for (const kind of ["PrimitiveInt", "PrimitiveNode", "Reroute"]) {
      once(`a count from a ${kind} moves the seed by that count`, async () => {
        await page.evaluate(([type, from]) => {
          const { app, LiteGraph } = window;
          const node = app.rootGraph.nodes.find((each) => each.type === type);
          const add = (name) => app.rootGraph.add(LiteGraph.createNode(name));
          const number = node.inputs.findIndex((input) => input.name === "candidates");
          const source = add(from === "PrimitiveNode" ? from : "PrimitiveInt");
          if (from === "Reroute") {
            const reroute = add("Reroute");
            source.connect(0, reroute, 0);
            reroute.connect(0, node, number);
          } else source.connect(0, node, number);
          source.widgets[0].value = 5;
        }, [SEARCH, kind]);
        assert.deepEqual(await queued(3), [100, 105, 110]);
      });
    }

    once("a count that the page can't know is that of the last board", async () => {
      const id = await page.evaluate((type) => {
        const { app, LiteGraph } = window;
        const node = app.rootGraph.nodes.find((each) => each.type === type);
        const batch = app.rootGraph.add(LiteGraph.createNode("DiffusionProbeSeedBatch"));
        batch.connect(batch.outputs.findIndex((output) => output.name === "count"), node, node.inputs.findIndex((input) => input.name === "candidates"));
        return node.id;
      }, SEARCH);
      const rows = Array.from({ length: 12 }, (_, row) => ({ row, seed: String(100 + (row % 6)), prompt: 1 + Math.floor(row / 6) }));
      await page.evaluate(([node, report]) => {
        const detail = { node: String(node), display_node: String(node), output: { diffusion_probe: [report] }, prompt_id: "p" };
        window.app.api.dispatchCustomEvent("executed", detail);
      }, [id, { rows }]);
      await page.waitForTimeout(200);
      assert.deepEqual(await queued(2), [100, 106], "six seeds with two prompts");
    });

    test("near the largest exact number the seed goes on at 0 and says so, and no rounded seed is silent", async () => {
      await set(SEARCH, { seed: LARGEST - 31 });
      assert.deepEqual(await queued(3), [LARGEST - 31, LARGEST - 15, 0]);
      await page.getByText("It goes on at 0").first().waitFor();
      await set(SEARCH, { seed: 5, control_after_generate: "decrement" });
      assert.deepEqual(await queued(2), [5, LARGEST - 15]);
      await set(SEARCH, { seed: 2 ** 60, control_after_generate: "fixed" });
      await queued(1);
      await page.getByText("so 1152921504606847000 may not be the seed you mean").first().waitFor();
    });

    test("a seed that is written by hand and has too many digits is not silently another one", async () => {
      if (vue) {
        const field = page.locator('[role="spinbutton"][aria-valuenow="100"]');
        await field.fill("9007199254740993");
        await field.press("Enter");
      } else {
        await page.evaluate((type) => {
          const node = window.app.rootGraph.nodes.find((each) => each.type === type);
          const widget = node.widgets.find((each) => each.name === "seed");
          widget.setValue(Number("9007199254740993"), { e: new PointerEvent("pointerup"), node, canvas: window.app.canvas });
        }, SEARCH);
      }
      await page.getByText("so 9007199254740992 may not be the seed you mean").first().waitFor();
      assert.deepEqual(sent, []);
    });

    once("Seed Batch moves by its count", async () => {
      await page.evaluate(() => {
        const { app, LiteGraph } = window;
        app.rootGraph.add(LiteGraph.createNode("DiffusionProbeSeedBatch"));
      });
      await set(BATCH, { first_seed: 40, count: 3, control_after_generate: "increment" });
      assert.deepEqual(await queued(3, BATCH, "first_seed"), [40, 43, 46]);
    });

    test("a seed that a subgraph's node shows moves there, by the count of that node", async () => {
      await page.evaluate((type) => {
        const { app, LiteGraph } = window;
        const { subgraph, node: host } = app.rootGraph.convertToSubgraph(new Set([app.rootGraph.nodes.find((each) => each.type === type)]));
        const inner = subgraph.nodes.find((each) => each.type === type);
        for (const name of ["seed", "candidates"]) {
          const input = inner.inputs.find((each) => each.name === name);
          subgraph.addInput(name, "INT").connect(input, inner);
        }
        const twin = app.rootGraph.add(LiteGraph.createNode(host.type));
        const write = (node, values) => Object.entries(values).forEach(([name, value]) => (node.widgets.find((each) => each.name === name).value = value));
        write(host, { seed: 100, candidates: 16 });
        write(twin, { seed: 1000, candidates: 4 });
        window.hosts = [host, twin];
      }, SEARCH);
      const held = () => page.evaluate(() => window.hosts.map((host) => host.widgets.find((each) => each.name === "seed").value));
      await page.evaluate(() => window.app.queuePrompt(0, 1));
      const inputs = Object.values(sent[0]).filter((node) => node.class_type === SEARCH).map((node) => [node.inputs.seed, node.inputs.candidates]);
      assert.deepEqual(inputs.sort(([a], [b]) => a - b), [[100, 16], [1000, 4]]);
      assert.deepEqual(await held(), [116, 1004]);
      await page.evaluate(() => window.app.queuePrompt(0, 1));
      assert.deepEqual(await held(), [132, 1008]);
    });

    test("nothing of this is an error in the console", async () => {
      assert.deepEqual(errors, []);
    });
  });
}
