"""One trial on a virtual card: what a node does with a model of real dimensions, and what that costs."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import comfy.model_management
import comfy.sample
import torch
from torch import Tensor, nn

from ...engine.capture.attach import attach_probe
from ...engine.capture.fast_decoder import FastDecoder
from ...engine.core.features import NEEDS, Features
from ...engine.core.look_prices import look_price
from ...engine.core.probe import CaptureAll, Probe
from ...engine.runs.seeds import batch_noise
from ...engine.seed_search.candidates import ksampler_candidate
from ...engine.seed_search.policies.by_name import policy_named
from ...engine.seed_search.result import FinalReward, SearchResult
from ...engine.seed_search.search import SearchOptions, seed_search
from ...engine.selection.pruning import PruneRule
from ...engine.step_cache.config import StepCacheConfig
from ...engine.step_cache.hook import apply_step_cache
from ...probe_models.preview import PreviewReward
from . import models
from .card import Card
from .replay import Calls

TRAINED, FAST, FULL = "trained probe", "fast decoder", "full VAE"
"""Probes of a search: one that reads what the model computes anyway, and rewards of decoded previews."""

MOMENT = "20%"

STOCK = tuple(f"ComfyUI/comfy/{name}.py" for name in ("sample", "samplers", "model_patcher", "model_management", "sd"))
"""Files of ComfyUI that wait when a run starts and ends, when weights are loaded, and for a VAE; not Euler's steps."""


@dataclass(frozen=True)
class Trial:
    """Run of one node with one model on one card.

    Attributes:
        model: one of :data:`models.MODELS`.
        card_gib: memory of the card.
        run: one of :data:`RUNS`.
        rows: images of a batch, or candidates of a search.
        steps: of the schedule.
        probe: of a search.
        policy, budget: of a search; the budget in images.
        few_blocks: whether the model has a few of its blocks only, for quick tests.
        controlled: whether a ControlNet is on the positive conditioning.
        replays: whether calls of the same shapes are computed once, see ``replay``.
        seed: of the values that are made up where the host reads a tensor without values.
    """

    model: str
    card_gib: float
    run: str = "KSampler"
    rows: int = 4
    steps: int = 4
    probe: str = TRAINED
    policy: str = "sequential"
    budget: float = 4.0
    few_blocks: bool = False
    controlled: bool = False
    replays: bool = True
    seed: int = 0


class ReadsAll(Probe):
    """Stand-in for a trained probe: everything is captured for it, and its scores are random."""

    name, label, needs, skilled = "reads all", "quality", frozenset(NEEDS), True

    def score(self, rows: list[Features]) -> Tensor:
        """Return random numbers."""
        return torch.randn(len(rows))


def measured(trial: Trial, card: Card) -> dict[str, Any]:
    """Run a trial on a card from which everything else is unloaded, and return what was counted.

    Returns:
        The trial's own fields, and ``flops`` by phase, ``to_card`` and ``to_host`` in bytes, ``waits`` by line,
        ``waits_in_steps`` (those that are not of ComfyUI's start, end and loading), ``calls`` (rows of the latent of
        each model call in order), ``waiting`` (model rows of all images, or of the candidates that started), ``peak``
        in bytes, ``out_of_memory``, and ``error``, None if there was none.
    """
    comfy.model_management.unload_all_models()
    gc.collect()
    card.total = int(trial.card_gib * 2**30)
    subject = models.build(trial.model, trial.few_blocks, trial.controlled)
    run = RUNS[trial.run](trial, subject, card)
    result = error = None
    torch.manual_seed(trial.seed)
    with Calls(card, trial.replays).counted() as calls:
        ledger = card.open_ledger()
        try:
            result = run()
        except Exception as wrong:
            error = f"{type(wrong).__name__}: {wrong}"
        ledger = card.ledger
    return {
        **asdict(trial),
        "flops": dict(ledger.flops),
        "to_card": ledger.to_card,
        "to_host": ledger.to_host,
        "waits": dict(ledger.waits),
        "waits_in_steps": sum(n for line, n in ledger.waits.items() if not line.split(" ")[-2].startswith(STOCK)),
        "calls": calls,
        "waiting": _started(result, trial.rows) * (1 if subject.cfg == 1 else 2),
        "peak": ledger.peak,
        "out_of_memory": ledger.out_of_memory,
        "error": error,
    }


def _started(result: Any, rows: int) -> int:
    """Return how many candidates of a search's result started; of anything else the rows."""
    return sum(each.reached > 0 for each in result.outcome.candidates) if isinstance(result, SearchResult) else rows


def _sample(trial: Trial, subject: models.Subject, model: Any) -> Tensor:
    """Sample a plain batch as KSampler does."""
    latent = torch.zeros(trial.rows, *subject.latent)
    noise = batch_noise(latent, range(trial.rows))
    settings = (trial.steps, subject.cfg, "euler", "simple", subject.positive, subject.negative)
    return comfy.sample.sample(model, noise, *settings, latent, disable_pbar=True, seed=0)


def _plain(trial: Trial, subject: models.Subject, card: Card) -> Callable[[], Any]:
    return lambda: _sample(trial, subject, subject.model)


def _attached(probe: Probe, top_k: int | None = None) -> Callable[..., Callable[[], Any]]:
    def prepare(trial: Trial, subject: models.Subject, card: Card) -> Callable[[], Any]:
        rule = None if top_k is None else PruneRule(top_k, "off", 0.0, True)
        return lambda: _sample(trial, subject, attach_probe(subject.model, probe, MOMENT, rule))

    return prepare


def _cached(trial: Trial, subject: models.Subject, card: Card) -> Callable[[], Any]:
    return lambda: _sample(trial, subject, apply_step_cache(subject.model, StepCacheConfig()))


def _search(trial: Trial, subject: models.Subject, card: Card) -> Callable[[], Any]:
    probe, final_reward = probe_of(trial, subject, card), None
    if isinstance(probe, PreviewReward):
        final_reward = FinalReward(probe.score, probe.label)
    settings = (trial.steps, subject.cfg, "euler", "simple", subject.positive, subject.negative)
    latent = {"samples": torch.zeros(1, *subject.latent)}
    candidates = [ksampler_candidate(seed, *settings, latent) for seed in range(trial.rows)]

    def policy(steps: int) -> Any:
        budget = round(trial.budget * steps)
        rated = final_reward is not None
        return policy_named(trial.policy, steps, trial.rows, 1, budget, final_reward=rated, look_price=price)

    pixels = subject.latent[1] * subject.latent[2] * 64
    early = probe.for_model(subject.model)
    price = look_price(models.MODELS[trial.model][0], pixels, early.look_tflop(pixels))
    options = SearchOptions(final_reward=final_reward)
    return lambda: seed_search(subject.model, candidates, early, policy, 1, options)


def probe_of(trial: Trial, subject: models.Subject, card: Card) -> Probe:
    """Return the probe that a search of this trial is made by."""
    if trial.probe == TRAINED:
        return ReadsAll()
    reward = models.image_reward()
    in_phase(card, reward.patcher.model, "reward")

    def fast(model: Any) -> FastDecoder:
        decoder = FastDecoder(
            models.small_decoder_file(subject.latent[0]), model.model.latent_format, model.load_device
        )
        in_phase(card, decoder.network.taesd_decoder, "decode")
        return decoder

    vae = subject.vae()
    in_phase(card, vae.first_stage_model.decoder, "decode")
    return PreviewReward(vae.decode, reward, "a lamp on a table", fast=fast if trial.probe == FAST else None)


def in_phase(card: Card, module: nn.Module, phase: str) -> None:
    """Count what a module computes under the name of a phase."""

    def begin(*_: Any) -> None:
        card.phase = phase

    def end(*_: Any) -> None:
        card.phase = "model"

    module.register_forward_pre_hook(begin)
    module.register_forward_hook(end)


RUNS: dict[str, Callable[[Trial, models.Subject, Card], Callable[[], Any]]] = {
    "KSampler": _plain,
    "Attach Probe": _attached(ReadsAll()),
    "Attach Recorder": _attached(CaptureAll()),
    "Prune in Flight": _attached(ReadsAll(), top_k=1),
    "TC-Padé Cache": _cached,
    "Seed Search": _search,
}
"""Runs of a trial by the node's name: each prepares the node on a model, and returns the function that runs it."""
