"""Result of a search: survivors' latents, the outcome of every candidate, and why there may be no survivor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..capture.previews import preview_images
from ..capture.scoring import row_scores
from ..core.durations import seconds_text
from ..core.features import Features
from ..core.marks import GONE, Marks
from ..core.pictures import at_most
from ..core.probe import Probe
from ..core.samplers import called, traits_of
from .clock import SearchClock
from .outcome import Outcome
from .state import SearchState, error_text

SHOWN_PX = 256
"""Longest side of the pictures of candidates that the node shows, and ComfyUI's history keeps."""


@dataclass(frozen=True)
class FinalReward:
    """Reward of finished latents, by which the survivors are chosen and ordered.

    Attributes:
        score: finished latents as ``Features.denoised`` → rewards ``[rows]``: :meth:`Probe.score` of a probe that
            needs nothing else.
        label: unit of the rewards.
    """

    score: Callable[[list[Features]], Tensor]
    label: str = ""


@dataclass(frozen=True)
class SearchResult:
    """Everything that a search returns.

    Attributes:
        latents: of the survivors, best first, ``[survivors, channels, …]`` float32; None if the user chose none.
        survivors: their candidates' numbers.
        outcome: final states of all candidates, as plain values.
        features: of each candidate at its last moment, without attention; None if it came to none.
        pictures: what the probe decoded there, ``[H, W, 3]`` uint8 by number; empty if it decodes nothing.
    """

    latents: Tensor | None
    survivors: list[int]
    outcome: Outcome
    features: list[Features | None]
    pictures: dict[int, Tensor]


def search_result(
    state: SearchState,
    probe: Probe | None,
    wanted: int,
    *,
    marks: Marks,
    clock: SearchClock,
    final_reward: FinalReward | None = None,
    warnings: Sequence[str] = (),
    check_rows: int = 0,
) -> SearchResult:
    """Order the finished candidates, and return them with the outcome of all.

    Args:
        state: of the search when all runs have ended.
        probe: that scored the candidates, None if nothing did.
        wanted: how many survivors are returned, at most.
        clock: of the search.
        warnings: sentences that the user should read about how it went.
        check_rows: see :class:`Outcome`.

    Raises:
        ValueError: no candidate is finished, or all finished ones are discarded; it says why.
    """
    candidates = state.candidates
    finished = [number for number, each in enumerate(candidates) if each.finished]
    chooses = probe is None and not state.finishes
    chosen = [number for number in marks.pinned if number < len(candidates)]
    nothing_chosen = not (finished or chosen) and (chooses and state.hold is not None or state.hold == GONE)
    no_error = finished or not any(each.error for each in candidates)
    if marks.discarded and no_error and not nothing_chosen and all(number in marks.discarded for number in finished):
        raise ValueError("every candidate that could be finished was discarded on the board. Keep at least one.")
    if not finished and not nothing_chosen:
        raise ValueError(none_finished(state)) from next((each.error for each in candidates if each.error), None)
    if final_reward:
        _add_rewards(state, finished, final_reward)
    sampler = next(each.run.sampler for each in candidates if each.run.sampler)
    outcome = Outcome(
        candidates=tuple(each.outcome(marks.of(number)) for number, each in enumerate(candidates)),
        steps=state.steps,
        wanted=wanted,
        probe=probe.name if probe else "",
        label=probe.label if probe else "",
        skilled=probe is not None and probe.skilled,
        sampler=sampler,
        calibration=tuple(probe.calibration) if probe else (),
        warnings=(*warnings, *(_budget_warnings(sampler) if probe else ())),
        reward_label=final_reward.label if final_reward else None,
        check_rows=check_rows,
        chooses=chooses,
        adds=state.finishes,
        hold=state.hold,
        seconds=clock.elapsed,
        looks=clock.looks,
        look_seconds=clock.look_seconds,
        look_price=state.look_price,
        seconds_per_row=clock.seconds_per_row,
    )
    survivors = outcome.survivors()
    return SearchResult(
        latents=torch.cat([candidates[number].run.result for number in survivors]) if survivors else None,
        survivors=survivors,
        outcome=outcome,
        features=[each.features for each in candidates],
        pictures={number: each.picture for number, each in enumerate(candidates) if each.picture is not None},
    )


def closing_line(outcome: Outcome, clock: SearchClock) -> str:
    """Return a sentence on how long a search took, and how long finishing all candidates would have taken."""
    count, finished = len(outcome.candidates), sum(each.finished for each in outcome.candidates)
    called_so = "seeds" if len({each.prompt for each in outcome.candidates}) == 1 else "candidates"
    line = f"{count} {called_so}, {finished} finished: {seconds_text(clock.elapsed)}"
    instead = clock.seconds_for(outcome.rows_of_all())
    if finished in (0, count) or instead is None:
        return f"{line}."
    if instead < clock.elapsed:
        return f"{line}; finishing all would have taken {seconds_text(instead)}."
    return f"{line} instead of {seconds_text(instead)}."


def _add_rewards(state: SearchState, finished: list[int], final_reward: FinalReward) -> None:
    """Note the reward of each finished candidate, or the error that left it without one."""
    candidates = [state.candidates[number] for number in finished]
    rows = [
        Features(family="", moment="end", step=state.steps, sigma=0.0, percent=1.0, denoised=each.run.result[0])
        for each in candidates
    ]
    results = row_scores(lambda some: (final_reward.score(some), None), rows)
    for candidate, result in zip(candidates, results, strict=True):
        candidate.reward, candidate.unrewarded = result.score, result.error


def none_finished(state: SearchState) -> str:
    """Return a sentence on how many candidates failed or got no score, with the first reasons."""
    stopped = [each for each in state.candidates if each.error]
    failed = sum(each.run.error is not None for each in stopped)
    counts = f"{failed} of {len(state.candidates)} failed"
    if unscored := len(stopped) - failed:
        counts += f", {unscored} could not be scored"
    in_order = sorted(stopped, key=lambda each: each.run.error is not None)  # those without a score come first
    seeds = {error_text(each.error): each.candidate.name for each in reversed(in_order)}
    reasons = [f"seed {seed}: {reason}" for reason, seed in reversed(seeds.items())]
    return f"no candidate was finished, {counts}: {'; '.join(reasons[:3])}"


def _budget_warnings(sampler: str) -> list[str]:
    if not traits_of(sampler).own_sigmas:
        return []
    name = called(sampler)
    return [f"{name} chooses its steps itself: the budget counts parts of the schedule, whose cost was not known."]


def candidate_pictures(model: Any, result: SearchResult) -> Tensor | None:
    """Return a picture of each candidate that has features, best first, ``[rows, H, W, 3]`` float 0 to 1.

    They are what the probe decoded, or ComfyUI's latent previews if it decodes nothing. None if there is none.
    """
    order = [number for number in result.outcome.order() if result.features[number] is not None]
    if not order:
        return None
    if result.pictures:
        drawn = [result.pictures[number].float() / 255 for number in order if number in result.pictures]
        return torch.stack([at_most(picture, SHOWN_PX) for picture in drawn])
    return preview_images(model, [result.features[number] for number in order])
