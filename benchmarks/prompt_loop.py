"""Worth of a loop that rewrites a prompt while its probed seeds score low.

``python -m benchmarks.prompt_loop --seed S --out FILE.json``

Scenes of three objects on a testbed. A wording says all of a scene or a part of it: each stated size and relation can
be left out, and the two relations can change their order. The loop starts with the whole wording, looks at a few seeds
of each wording after 20 % of the steps, and rewrites the best wording so far (one of these changes, drawn) until the
score reaches the threshold or the rounds are over. Its best seed of its best wording is finished. The reward of all
images is that of the scene as written.

Compared at equal cost, scene by scene: as many wordings drawn at random from all, looked at with the same seeds and
chosen by the same scores; and the whole wording with as many seeds as the loop looked at. ``rows[]``: ``reward`` of the
finished image with its 95 % interval over scenes, ``loop_over_it`` the loop's gain over the method within scenes.
"""

import argparse
import random
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import captured
from diffusion_probe.engine.seed_search.prompt_trials import MEAN, Trial, Trials
from diffusion_probe.probe_models.preview import PreviewReward
from diffusion_probe.testbed import sample
from diffusion_probe.testbed.scenes import Scene, sample_scenes
from diffusion_probe.testbed.scorer import GroundTruth
from diffusion_probe.training.metrics.protocol import mean_over_prompts

from benchmarks.lib import report
from benchmarks.lib.candidates import Testbed, candidate_seeds, kept_lines

MODULE = "benchmarks.prompt_loop"
CUT = round(0.2 * sample.STEPS)
FIRST_PROMPT = 700_000
"""Number of the first scene, so that its seeds are no other benchmark's."""

METHODS = ("the loop", "random wordings", "the prompt as written, more seeds", "the prompt as written, one image")


@dataclass(frozen=True)
class Wording:
    """Choice of what a wording says of a scene: each size, each relation, and which relation comes first."""

    sizes: tuple[bool, ...]
    relations: tuple[bool, bool] = (True, True)
    swapped: bool = False

    def text(self, scene: Scene) -> str:
        """Return the wording of a scene of three objects."""
        objects = [one if said else replace(one, size=None) for one, said in zip(scene.objects, self.sizes)]
        relations = [one if said else None for one, said in zip(scene.relations, self.relations)]
        if self.swapped:
            objects[1:], relations = objects[:0:-1], relations[::-1]
        return Scene(tuple(objects), tuple(relations)).prompt

    def changed(self, rng: random.Random) -> "Wording":
        """Return a wording that differs in one choice."""
        number = rng.randrange(len(self.sizes) + 3)
        if number == len(self.sizes) + 2:
            return replace(self, swapped=not self.swapped)
        name, place = ("sizes", number) if number < len(self.sizes) else ("relations", number - len(self.sizes))
        flipped = [said != (position == place) for position, said in enumerate(getattr(self, name))]
        return replace(self, **{name: tuple(flipped)})

    @classmethod
    def drawn(cls, count: int, rng: random.Random) -> "Wording":
        """Draw a wording of ``count`` objects."""
        sizes = tuple(rng.random() < 0.5 for _ in range(count))
        return cls(sizes, (rng.random() < 0.5, rng.random() < 0.5), rng.random() < 0.5)


class SceneLooks:
    """Looks at wordings of one scene, and finished images of it.

    Args:
        seeds: of the scene.
    """

    def __init__(self, testbed: Testbed, scene: Scene, seeds: range):
        self.testbed, self.scene, self.seeds = testbed, scene, seeds
        self.preview = PreviewReward(testbed.decode, GroundTruth(), scene.prompt)

    @torch.inference_mode()
    def scores(self, texts: list[str], seeds: list[int]) -> list[float]:
        """Return the score of each row at the cut, sampled from its wording and seed."""
        model = attach_probe(self.testbed.model, self.preview, f"step {CUT}")
        positive = sample.encode_prompts(self.testbed.clip, texts)
        samples = sample.sample_conditioned(model, positive, self.testbed.clip, seeds, last_step=CUT)
        return self.preview.score(captured(model, {"samples": samples})).tolist()

    @torch.inference_mode()
    def rewards(self, rows: list[tuple[str, int]]) -> list[float]:
        """Return the rewards of the finished images of wordings and seeds."""
        texts, seeds = [list(part) for part in zip(*rows)]
        images = self.testbed.decode(sample.sample_latents(self.testbed.model, self.testbed.clip, texts, seeds))
        return GroundTruth().score(images, [self.scene.prompt] * len(rows)).tolist()


def loop(looks: SceneLooks, settings: argparse.Namespace, rng: random.Random) -> Trials:
    """Return the wordings that the loop tries, in their order."""
    seeds, by_text = list(looks.seeds[: settings.seeds]), {}
    wording, trials = Wording((True, True, True)), Trials(looks.preview)
    for _ in range(settings.rounds + 1):
        text = wording.text(looks.scene)
        by_text[text] = wording
        trials = trials.and_then(Trial(text, tuple(looks.scores([text] * len(seeds), seeds)), MEAN))
        if trials.best.score >= settings.threshold:
            break
        wording = new_wording(by_text[trials.best.prompt], looks.scene, set(by_text), rng)
    return trials


def record(testbed: Testbed, scene: Scene, seeds: range, settings: argparse.Namespace, rng: random.Random) -> dict:
    """Return how many wordings the loop tried, whether it passed, and each method's reward for one scene."""
    looks, first = SceneLooks(testbed, scene, seeds), list(seeds[: settings.seeds])
    trials = loop(looks, settings, rng)
    tried, whole = len(trials.tried), trials.tried[0].prompt
    texts: dict[str, None] = {}
    while len(texts) < tried:
        texts[Wording.drawn(len(scene.objects), rng).text(scene)] = None
    others = list(seeds[settings.seeds : settings.seeds * tried])
    scores = looks.scores([text for text in texts for _ in first] + [whole] * len(others), first * tried + others)
    drawn = Trials(looks.preview)
    for number, text in enumerate(texts):
        own = scores[number * len(first) : (number + 1) * len(first)]
        drawn = drawn.and_then(Trial(text, tuple(own), MEAN))
    of_whole = [*trials.tried[0].scores, *scores[tried * len(first) :]]
    finished = [
        *((each.best.prompt, each.best.best_seeds(first)[0]) for each in (trials, drawn)),
        (whole, [*first, *others][int(np.argmax(of_whole))]),
        (whole, first[0]),
    ]
    return {
        "tried": tried,
        "passed": trials.best.score >= settings.threshold,
        **dict(zip(METHODS, looks.rewards(finished))),
    }


def new_wording(best: Wording, scene: Scene, known: set[str], rng: random.Random) -> Wording:
    """Return a wording one change away from the best one, or more where all of these are known."""
    wording = best
    while wording.text(scene) in known:
        wording = wording.changed(rng)
    return wording


def rows_of(lines: list[dict], seed: int) -> list[dict[str, Any]]:
    """Return the figures of each method over all scenes."""
    rows = []
    for method in METHODS:
        values = np.array([line[method] for line in lines])
        reward = mean_over_prompts(values, seed)
        gain = mean_over_prompts(np.array([line[METHODS[0]] for line in lines]) - values, seed)
        row = {"method": method, "reward": reward.value, "ci": reward.interval}
        rows.append({**row, "loop_over_it": gain.value, "loop_over_it_ci": gain.interval})
    return rows


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, required=True, help="of scenes, noise, rewrites and intervals")
    parser.add_argument("--model", choices=["flux", "sdxl"], default="flux")
    parser.add_argument("--scenes", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3, help="rewrites at most")
    parser.add_argument("--seeds", type=int, default=4, help="that each wording is looked at with")
    parser.add_argument("--threshold", type=float, default=0.8, help="mean score that ends the loop")
    parser.add_argument("--out", type=report.Path, required=True)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write the result file; return the exit status."""
    args = parse(arguments)
    testbed = Testbed.load(args.model)
    sampled = sample_scenes(args.scenes, 40_000 + args.seed, object_count=3)

    def recorded(number: int) -> dict[str, Any]:
        seeds = candidate_seeds(args.seed, FIRST_PROMPT + number, args.seeds * (args.rounds + 1))
        return record(testbed, sampled[number], seeds, args, random.Random(f"{args.seed}-{number}"))

    settings = f"{testbed.weights()}-{args.seed}-loop-{args.rounds}-{args.seeds}-{args.threshold}"
    lines = kept_lines(settings, "scenes", args.scenes, recorded)
    figures = {
        "model": args.model,
        **testbed.settings,
        "scenes": args.scenes,
        "rounds": args.rounds,
        "seeds": args.seeds,
        "threshold": args.threshold,
        "cut": CUT,
        "tried": np.mean([line["tried"] for line in lines]),
        "passed": np.mean([line["passed"] for line in lines]),
        "rows": rows_of(lines, args.seed),
    }
    report.write(args.out, figures, MODULE, args.seed)
    for row in report.plain(figures)["rows"]:
        print(row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
