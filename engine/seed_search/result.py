"""What became of a search's candidates: who survives, what the others came to, and why there may be nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..capture.previews import preview_images
from ..capture.scoring import RowScore, row_scores
from ..core.features import Features
from ..core.marks import Marks
from ..core.probe import Probe
from ..core.samplers import called, traits_of
from .candidates import Candidate
from .hub.coroutine import Run
from .outcome import Fate, Outcome

Judge = Callable[[list[Features]], Tensor]
"""Finished latents, as ``Features.denoised`` → scores ``[rows]``: :meth:`Probe.score` of a probe that needs no more."""


@dataclass
class Entry:
    """One candidate in a search.

    Attributes:
        run: of its sampler.
        reached: steps done.
        scores: by moment.
        unscored: why it has no score at the moment where it stands.
        seen: what it looked like when last looked at, without its attention; None if never.
        picture: the same as the probe judged it, ``[H, W, 3]`` of at most 256 px, where it decodes.
    """

    candidate: Candidate
    run: Run
    reached: int = 0
    scores: dict[int, float] = field(default_factory=dict)
    unscored: Exception | None = None
    seen: Features | None = None
    picture: Tensor | None = None

    @property
    def error(self) -> Exception | None:
        """What stopped it."""
        return self.run.error or self.unscored

    def leave_unscored(self, moment: int, why: str | Exception) -> None:
        """It goes no further by itself."""
        self.unscored = ValueError(f"not scored at step {moment}: {why}")

    def fate(self, mark: str | None, judged: RowScore | None) -> Fate:
        """What became of it, as plain values."""
        remark = str(self.unscored) if self.unscored else None
        if judged and judged.error:
            remark = f"not judged: {judged.error}"
        return Fate(
            seed=self.candidate.name.seed,
            batch_index=self.candidate.name.batch_index,
            prompt=self.candidate.prompt,
            scores=tuple(sorted(self.scores.items())),
            reached=self.reached,
            model_rows=self.run.model_rows,
            evaluations=self.run.evaluations,
            finished=self.run.result is not None,
            final=judged.score if judged else None,
            failure=_said(self.run.error) if self.run.error else None,
            remark=remark,
            mark=mark,
        )


@dataclass(frozen=True)
class SearchResult:
    """Attributes:
    latents: of the survivors, best first, ``[survivors, channels, …]`` float32.
    survivors: their candidates' numbers.
    outcome: what became of every candidate.
    seen, pictures: of each candidate, as :class:`Entry` has them; pictures by number, where there are any.
    """

    latents: Tensor
    survivors: list[int]
    outcome: Outcome
    seen: list[Features | None]
    pictures: dict[int, Tensor]


def search_result(
    entries: Sequence[Entry],
    steps: int,
    wanted: int,
    probe: Probe,
    marks: Marks,
    judge: Judge | None,
    judge_label: str,
    warnings: Sequence[str],
    check_rows: int = 0,
) -> SearchResult:
    """The finished candidates in order, and what became of all.

    Raises:
        ValueError: there is none, and why.
    """
    finished = [row for row, entry in enumerate(entries) if entry.run.result is not None]
    unhindered = finished or not any(entry.error for entry in entries)
    if marks.discarded and unhindered and all(row in marks.discarded for row in finished):
        raise ValueError("every candidate that could be finished was discarded on the board. Keep at least one.")
    if not finished:
        raise ValueError(none_finished(entries)) from next(filter(None, (entry.error for entry in entries)), None)
    judged = _judged(entries, finished, steps, judge) if judge else {}
    sampler = next(entry.run.sampler for entry in entries if entry.run.sampler)
    outcome = Outcome(
        fates=tuple(entry.fate(marks.of(row), judged.get(row)) for row, entry in enumerate(entries)),
        steps=steps,
        wanted=wanted,
        probe=probe.name,
        label=probe.label,
        skilled=probe.skilled,
        sampler=sampler,
        calibration=tuple(probe.calibration),
        warnings=(*warnings, *_budget_warnings(sampler)),
        judge_label=judge_label if judge else None,
        check_rows=check_rows,
    )
    best = outcome.survivors()
    return SearchResult(
        latents=torch.cat([entries[row].run.result for row in best]),
        survivors=best,
        outcome=outcome,
        seen=[entry.seen for entry in entries],
        pictures={row: entry.picture for row, entry in enumerate(entries) if entry.picture is not None},
    )


def _judged(entries: Sequence[Entry], finished: list[int], steps: int, judge: Judge) -> dict[int, RowScore]:
    rows = [
        Features(family="", moment="end", step=steps, sigma=0.0, percent=1.0, denoised=entries[row].run.result[0])
        for row in finished
    ]
    return dict(zip(finished, row_scores(lambda some: (judge(some), None), rows), strict=True))


def none_finished(entries: Sequence[Entry]) -> str:
    """How many candidates failed or got no score, and the first reasons."""
    stopped = [entry for entry in entries if entry.error]
    failed = sum(entry.run.error is not None for entry in entries)
    counts = f"{failed} of {len(entries)} failed"
    if unscored := len(stopped) - failed:
        counts += f", {unscored} could not be scored"
    in_order = sorted(stopped, key=lambda entry: entry.run.error is not None)  # what could not be scored comes first
    seeds = {_said(entry.error): entry.candidate.name for entry in reversed(in_order)}
    reasons = [f"seed {seed}: {reason}" for reason, seed in reversed(seeds.items())]
    return f"no candidate was finished, {counts}: {'; '.join(reasons[:3])}"


def _said(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


def _budget_warnings(sampler: str) -> list[str]:
    if not traits_of(sampler).own_sigmas:
        return []
    name = called(sampler)
    return [f"{name} chooses its steps itself: the budget counts parts of the schedule, whose cost was not known."]


def candidate_pictures(model: Any, result: SearchResult) -> Tensor | None:
    """A picture of each candidate that was looked at, best first, ``[rows, H, W, 3]``: as the probe judged
    it, else by ComfyUI's latent preview. None if there is none."""
    order = [row for row in result.outcome.order() if result.seen[row] is not None]
    if not order:
        return None
    if result.pictures:
        return torch.stack([result.pictures[row] for row in order if row in result.pictures])
    return preview_images(model, [result.seen[row] for row in order])
