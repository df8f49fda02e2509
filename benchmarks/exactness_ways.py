"""The ways in which the pack runs a MODEL, each beside the stock run that it has to equal."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from diffusion_probe.nodes.attach import AttachProbe
from diffusion_probe.nodes.cache import CUSTOM, TCPadeCache
from diffusion_probe.nodes.prune import PruneInFlight
from diffusion_probe.nodes.search import REFUSE, SeedSearch
from diffusion_probe.nodes.seeds import KEEP_ALL
from diffusion_probe.probe_models.features import ACTIVATION, ATTENTION, DENOISED
from diffusion_probe.sampling.capture import captured, score_latent
from diffusion_probe.search.policies import ONE_CUT
from diffusion_probe.search.select import OFF
from torch import Tensor

from benchmarks.exactness_models import Job, Parts
from benchmarks.exactness_nodes import Use
from benchmarks.exactness_registry import apply_node

ROWS, KEPT = 3, [0, 2]
SEEDS = (5, 6, 7)
MOMENTS = "step 2, step 4"
MOMENT = "step 2"
BEFORE, AFTER = "before", "after"


class ByRow:
    """A probe that needs what ``needs`` says and likes the rows of :data:`KEPT` best."""

    name, label, skilled, calibration = "by row", "liking", True, ()

    def __init__(self, *needs: str):
        self.needs = frozenset(needs)

    def score(self, rows: list) -> Tensor:
        return torch.tensor([0.9, 0.1, 0.8][: len(rows)])


LOOKS_AT_ALL = ByRow(DENOISED, ATTENTION, ACTIVATION)
LOOKS_AT_X0 = ByRow(DENOISED)


class StockFails(Exception):
    """Without the pack the node doesn't run on this model either."""


@dataclass
class Trial:
    """One node on one model, with the stock runs that everything is compared with."""

    name: str
    use: Use
    parts: Parts

    @cached_property
    def job(self) -> Job:
        return self.parts.job.changed(**self.use.job(self.parts))

    def marks(self) -> set[str]:
        """What may be left on the shared model."""
        return self.parts.marks(**self.use.model(self.parts))

    def plain(self) -> Any:
        """The MODEL without the node."""
        model = self.parts.model(**self.use.model(self.parts))
        return apply_node(self.use.after, model, {}) if self.use.after else model

    def node(self, model: Any) -> Any:
        """What the node makes of a MODEL; made anew for each run, so that nothing is left of another."""
        return apply_node(self.name, model, self.use.arguments(self.parts))

    def patched(self, ours: Callable[[Any], Any], order: str) -> Any:
        """The MODEL with the node and one of the pack's; ``order`` says where the core node stands."""
        return ours(self.node(self.plain())) if order == BEFORE else self.node(ours(self.plain()))

    @cached_property
    def batch(self) -> Tensor:
        """What the stock KSampler gives: three rows, or one where the node can't do more."""
        try:
            return self._stock(ROWS, self.parts.seed)
        except StockFails:
            return self._stock(1, self.parts.seed)

    @property
    def rows(self) -> int:
        """Of the batches."""
        return len(self.batch)

    def sample(self, model: Any) -> Tensor:
        """What it gives of a model with one of the pack's nodes."""
        return self.job.sample(model, self.parts.seed, self.rows)

    def alone(self, seed: int) -> Tensor:
        """What it gives for one seed, ``[1, …]``."""
        if seed not in self._alone:
            self._alone[seed] = self._stock(1, seed)
        return self._alone[seed]

    @cached_property
    def _alone(self) -> dict[int, Tensor]:
        return {}

    def _stock(self, rows: int, seed: int) -> Tensor:
        try:
            result = self.job.sample(self.node(self.plain()), seed, rows)
        except Exception as error:
            raise StockFails(f"{type(error).__name__}: {error}") from error
        if not result.isfinite().all():
            raise StockFails("the image is not finite")
        return result

    def effect(self) -> float:
        """By how much the node changes the stock image."""
        key = (self.use.model, self.use.job, self.use.after, self.rows)
        plain = self.parts.plain_images
        known = next((image for given, image in plain if given == key), None)
        if known is None:
            known = self.sample(self.plain())
            plain.append((key, known))
        return relative(self.batch, known)


def relative(result: Tensor, expected: Tensor) -> float:
    """‖result − expected‖ / ‖expected‖ of the worst row."""
    rows = (result - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)
    return float(rows.max())


@dataclass(frozen=True)
class Found:
    """Attributes:
    difference: from stock, of the worst row.
    note: what the pack says besides.
    """

    difference: float
    note: str = ""


def attach_probe(trial: Trial, order: str) -> Found:
    """Attach Probe, which must leave every bit as it is."""
    model = trial.patched(lambda given: AttachProbe.execute(given, LOOKS_AT_ALL, MOMENTS).result[0], order)
    samples = trial.sample(model)
    try:
        seen = captured(model, {"samples": samples})
        note = "" if seen[0].attention is not None else "no attention captured"
    except ValueError as error:
        note = str(error)
    return Found(relative(samples, trial.batch), note)


def prune_in_flight(trial: Trial, order: str) -> Found:
    """Prune in Flight: the rows that stay, beside the same rows of the stock batch."""

    def prune(given: Any, probe: ByRow = LOOKS_AT_X0) -> Any:
        return PruneInFlight.execute(given, probe, MOMENT, len(KEPT), OFF, 0.5, KEEP_ALL).result[0]

    model = trial.patched(prune, order)
    samples = trial.sample(model)
    scores = score_latent(model, {"samples": samples})
    kept = [row for row in range(trial.rows) if not scores.dropped_at or scores.dropped_at[row] is None]
    return Found(relative(samples[kept], trial.batch[kept]), scores.note)


def seed_search(trial: Trial, order: str, max_rows: int = 0) -> Found:
    """Seed Search: two survivors of three seeds, each beside the stock KSampler of its seed."""
    job, alone = trial.job, {seed: trial.alone(seed) for seed in SEEDS}
    outputs = SeedSearch.execute(
        trial.node(trial.plain()), LOOKS_AT_ALL, job.positive, job.negative, job.of_rows(1), 0, 1, len(KEPT), 0.0,
        ONE_CUT, job.steps, job.cfg, job.sampler, job.scheduler, 1.0, seeds=", ".join(map(str, SEEDS)),
        max_rows=max_rows, unskilled_scores=REFUSE,
    ).result  # fmt: skip
    latents, seeds = outputs[0]["samples"], [int(seed) for seed in outputs[1].split(", ")]
    expected = torch.cat([alone[seed] for seed in seeds])
    return Found(relative(latents, expected), f"{len(seeds)} survivors" if len(seeds) < len(KEPT) else "")


def one_row_search(trial: Trial, order: str) -> Found:
    """Seed Search with max rows 1: no two candidates share a call."""
    return seed_search(trial, order, max_rows=1)


def idle_cache(trial: Trial, order: str) -> Found:
    """TC-Padé Cache with all its hooks in place and a veto that no path passes, so that nothing is predicted."""

    def cached(given: Any) -> Any:
        return TCPadeCache.execute(given, CUSTOM, "pade11", 2, 0.3, 1.0, "off", 0.0, 1.0, 0.0, 0.0, "output").result[0]

    samples = trial.sample(trial.patched(cached, order))
    return Found(relative(samples, trial.batch))


@dataclass(frozen=True)
class Way:
    """Attributes:
    run: a trial and an order → what was found.
    limit: the largest difference that is allowed; 0 where every bit has to be the same.
    orders: where the core node stands.
    """

    run: Callable[[Trial, str], Found]
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
