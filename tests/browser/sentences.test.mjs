// What the server writes, in Chinese as far as its sentences are known; no browser is needed.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

const source = await readFile(new URL("../../web/board/texts.js", import.meta.url), "utf-8");
const { setTexts, translated } = await import(`data:text/javascript,${encodeURIComponent(source)}`);
const zh = JSON.parse(await readFile(new URL("../../locales/zh/main.json", import.meta.url), "utf-8"));

const SAID = {
  "Kept 2 of 8 (best 2).": "在 8 行中保留 2 行（前 2 名）。",
  "Not passed (mean of all rows: raw score 0.41 < 17.2). Took otherwise.": "未通过（所有行的平均：原始评分 0.41 < 17.2）。 采用“否则”分支。",
  "Dropped all 16 (raw score ≥ 1.5): the best score is -0.9. Nothing is sampled further.": "淘汰全部 16 行（原始评分 ≥ 1.5）：最高评分为 -0.9。不再继续采样。",
  "A sentence of another pack (0.5).": "A sentence of another pack (0.5).",
};

test("sentences of the server are Chinese with their numbers, and unknown ones stay", () => {
  setTexts({}, zh.diffusionProbeSentences);
  for (const [english, chinese] of Object.entries(SAID)) assert.equal(translated(english), chinese);
});

test("without a table nothing changes", () => {
  setTexts({});
  for (const english of Object.keys(SAID)) assert.equal(translated(english), english);
});
