"""Ways in which the pack runs a MODEL, each beside the stock run that it has to equal."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusion_probe.engine.capture.read import captured, score_latent
from diffusion_probe.engine.core.features import ACTIVATION, ATTENTION, DENOISED
from diffusion_probe.engine.core.probe import Probe
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT
from diffusion_probe.engine.selection.select import OFF
from diffusion_probe.nodes.attach import AttachProbe
from diffusion_probe.nodes.cache import CUSTOM, TCPadeCache
from diffusion_probe.nodes.prune import PruneInFlight
from diffusion_probe.nodes.search import SeedSearch
from diffusion_probe.nodes.search_run import REFUSE
from diffusion_probe.nodes.sockets import KEEP_ALL
from torch import Tensor

from benchmarks.lib.exactness_trial import AFTER, BEFORE, Trial, relative

KEPT = [0, 2]
"""Rows that are kept of a batch of three."""
SEEDS = (5, 6, 7)
MOMENTS = "step 2, step 4"
MOMENT = "step 2"


class ByRow(Probe):
    """A probe that needs what ``needs`` says and scores the rows of :data:`KEPT` highest."""

    name, label, skilled, calibration = "by row", "liking", True, ()

    def __init__(self, *needs: str):
        self.needs = frozenset(needs)

    def score(self, rows: list) -> Tensor:
        """Score the rows of a batch by their position."""
        return torch.tensor([0.9, 0.1, 0.8][: len(rows)])


LOOKS_AT_ALL = ByRow(DENOISED, ATTENTION, ACTIVATION)
LOOKS_AT_X0 = ByRow(DENOISED)


SOME_FAILED = re.compile(r"[1-9]\d* of \d+ failed")
OURS = ("Attach Probe: ", "Prune in Flight: ", "Seed Search: ", "TC-Padé Cache: ")
"""Beginnings of the pack's sentences."""


@dataclass(frozen=True)
class Comparison:
    """Result of one way of running the model.

    Attributes:
        difference: from stock, of the worst row.
        note: what the pack says besides.
    """

    difference: float
    note: str = ""


def is_refusal(error: Exception) -> bool:
    """Return whether an error is a sentence of one of the pack's nodes, and not what ended a run on the way."""
    said = str(error)
    return isinstance(error, ValueError) and said.startswith(OURS) and not SOME_FAILED.search(said)


def looking(run: Callable[[ByRow], Comparison]) -> Comparison:
    """Run with a probe that reads all features; where that is refused, with one that reads x0 alone."""
    try:
        return run(LOOKS_AT_ALL)
    except ValueError as error:
        if not is_refusal(error):
            raise
        result = run(LOOKS_AT_X0)
        return replace(result, note=f"with a probe of x0 alone, because with one of all: {error}")


def attach_probe(trial: Trial, order: str) -> Comparison:
    """Compare Attach Probe, which must leave every bit as it is."""

    def attached(probe: ByRow) -> Comparison:
        model = trial.patched(lambda model: AttachProbe.execute(model, probe, MOMENTS).result[0], order)
        samples = trial.sample(model)
        try:
            captured(model, {"samples": samples})
            note = ""
        except ValueError as error:
            note = str(error)
        return Comparison(relative(samples, trial.batch), note)

    return looking(attached)


def prune_in_flight(trial: Trial, order: str) -> Comparison:
    """Compare the rows that Prune in Flight keeps with the same rows of the stock batch."""

    def prune(model: Any, probe: ByRow = LOOKS_AT_X0) -> Any:
        return PruneInFlight.execute(model, probe, MOMENT, len(KEPT), OFF, 0.5, KEEP_ALL).result[0]

    model = trial.patched(prune, order)
    samples = trial.sample(model)
    scores = score_latent(model, {"samples": samples})
    kept = [row for row in range(trial.rows) if not scores.dropped_at or scores.dropped_at[row] is None]
    return Comparison(relative(samples[kept], trial.batch[kept]), scores.note)


def seed_search(trial: Trial, order: str, max_rows: int = 0) -> Comparison:
    """Compare two survivors of three seeds of Seed Search with the stock KSampler of their seeds."""
    job, alone = trial.job, {seed: trial.alone(seed) for seed in SEEDS}

    def searched(probe: ByRow) -> Comparison:
        latent, seeds, *_ = SeedSearch.execute(
            model=trial.with_node(), probe=probe, positive=job.positive, negative=job.negative,
            latent_image=job.of_rows(1), seed=0, candidates=1, survivors=len(KEPT), budget=0.0, policy=ONE_CUT,
            steps=job.steps, cfg=job.cfg, sampler_name=job.sampler, scheduler=job.scheduler, denoise=1.0,
            seeds=", ".join(map(str, SEEDS)), max_rows=max_rows, unskilled_scores=REFUSE,
        ).result  # fmt: skip
        finished = [int(seed) for seed in seeds.split(", ")]
        note = "" if len(finished) == len(KEPT) else "not every candidate was scored"
        return Comparison(relative(latent["samples"], torch.cat([alone[seed] for seed in finished])), note)

    return looking(searched)


def one_row_search(trial: Trial, order: str) -> Comparison:
    """Compare Seed Search with max rows 1, where no two candidates share a call."""
    return seed_search(trial, order, max_rows=1)


def idle_cache(trial: Trial, order: str) -> Comparison:
    """Compare TC-Padé Cache with all its hooks in place and a veto that no path passes, so that it predicts nothing."""

    def cached(model: Any) -> Any:
        return TCPadeCache.execute(model, CUSTOM, "pade11", 2, 0.3, 1.0, "off", 0.0, 1.0, 0.0, 0.0, "output").result[0]

    samples = trial.sample(trial.patched(cached, order))
    return Comparison(relative(samples, trial.batch))


@dataclass(frozen=True)
class Way:
    """A way of running the model, and what is allowed.

    Attributes:
        run: a trial and an order → the result.
        limit: the largest difference that is allowed; 0 where every bit has to be the same.
        orders: where the core node stands.
    """

    run: Callable[[Trial, str], Comparison]
    limit: float
    orders: tuple[str, ...] = (BEFORE, AFTER)


LIMIT = 1e-5
WAYS = {
    "Attach Probe": Way(attach_probe, 0.0),
    "Prune in Flight": Way(prune_in_flight, LIMIT),
    "Seed Search": Way(seed_search, LIMIT, (BEFORE,)),
    "Seed Search, max rows 1": Way(one_row_search, LIMIT, (BEFORE,)),
    "idle cache": Way(idle_cache, 0.0),
}
