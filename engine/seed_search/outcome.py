"""What became of the candidates of a search, as values, in JSON and in words."""

from dataclasses import dataclass, replace

from ..core.scores import Scores, SeedName


@dataclass(frozen=True)
class Fate:
    """One candidate.

    Attributes:
        seed: of its noise.
        prompt: which of several prompts, from 0.
        scores: (step, score) of each moment at which it was looked at, ascending.
        reached: steps done.
        model_rows: forwards of one latent for one cond that were spent on it.
        evaluations: model evaluations that it made.
        finished: whether it was sampled to the end.
        final: the judge's score of the finished image, if there was a judge.
        failure: what went wrong with it, None if nothing did.
        remark: that and why it was not scored where it was looked at, or not judged; None if it was.
        mark: what the user made of it on the seed board: "pinned", "discarded" or None.
        batch_index: as in :class:`SeedName`.
    """

    seed: int
    prompt: int
    scores: tuple[tuple[int, float], ...]
    reached: int
    model_rows: int
    evaluations: int
    finished: bool
    final: float | None = None
    failure: str | None = None
    remark: str | None = None
    mark: str | None = None
    batch_index: int | None = None

    @property
    def name(self) -> SeedName:
        """Of its noise."""
        return SeedName(self.seed, self.batch_index)

    def standing(self) -> tuple:
        """Larger is better: finished first, by the judge or the last score; of the others who came further.

        A mark counts more than any score.
        """
        step, score = self.scores[-1] if self.scores else (0, float("-inf"))
        mark = {"pinned": 1, None: 0, "discarded": -1}[self.mark]
        return self.finished, mark, self.final if self.final is not None else float("-inf"), step, score


@dataclass(frozen=True)
class Outcome:
    """All candidates, in the order in which they were given.

    Attributes:
        wanted: how many survivors were asked for.
        skilled: whether the probe has measured skill.
        calibration: the probe's, as in :class:`Scores`.
        warnings: what a user should know of how it went.
        judge_label: what the judge's scores are measured in, None without a judge.
        check_rows: model rows spent beside those of the candidates, to see that none changes another's image.
    """

    fates: tuple[Fate, ...]
    steps: int
    wanted: int
    probe: str
    label: str
    skilled: bool
    sampler: str = ""
    calibration: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()
    judge_label: str | None = None
    check_rows: int = 0

    def order(self) -> list[int]:
        """All candidates' numbers, best first; of equals the earlier first."""
        return sorted(range(len(self.fates)), key=lambda row: self.fates[row].standing(), reverse=True)

    def survivors(self) -> list[int]:
        """The best finished ones, as many as wanted; more if more are pinned, and none that was discarded."""
        finished = [row for row in self.order() if self.fates[row].finished and self.fates[row].mark != "discarded"]
        pinned = sum(self.fates[row].mark == "pinned" for row in finished)
        return finished[: max(self.wanted, pinned)]

    @property
    def model_rows(self) -> int:
        """Forwards of one latent for one cond that the search took, checks included."""
        return sum(fate.model_rows for fate in self.fates) + self.check_rows

    def rows_of_all(self) -> float:
        """Model rows that all candidates would have taken to the end."""
        finished = [fate.model_rows for fate in self.fates if fate.finished]
        return len(self.fates) * sum(finished) / len(finished) if finished else float("nan")

    def scores(self) -> Scores:
        """The last score of every candidate that has one, in their order, and where it was dropped.

        A candidate that was finished and is not among the survivors was dropped at the end.
        """
        survivors = self.survivors()
        rows = [row for row, fate in enumerate(self.fates) if fate.scores]
        ends = {row: "the end" if self.fates[row].finished else f"step {self.fates[row].reached}" for row in rows}
        return replace(
            self._last_scores(rows), dropped_at=tuple(None if row in survivors else ends[row] for row in rows)
        )

    def kept_scores(self) -> Scores:
        """Of the survivors, best first: the judge's where there is a judge, else their last of the probe.

        NaN for a survivor that has none.
        """
        last = self._last_scores(self.survivors())
        if self.judge_label is None:
            return last
        finals = (self.fates[row].final for row in self.survivors())
        return replace(
            last,
            values=tuple(float("nan") if final is None else final for final in finals),
            probe="judge",
            label=self.judge_label,
            moment="the end",
            step=self.steps,
            skilled=True,
            calibration=(),
        )

    def _last_scores(self, rows: list[int]) -> Scores:
        fates = [self.fates[row] for row in rows]
        moments = sorted({step for fate in fates for step, _ in fate.scores})
        return Scores(
            values=tuple(fate.scores[-1][1] if fate.scores else float("nan") for fate in fates),
            seeds=tuple(fate.name for fate in fates),
            probe=self.probe,
            label=self.label,
            moment=", ".join(f"step {step}" for step in moments),
            step=moments[-1] if moments else 0,
            skilled=self.skilled,
            sampler=self.sampler,
            model_rows=self.model_rows,
            calibration=self.calibration,
        )


def outcome_report(outcome: Outcome) -> dict:
    """What Seed Search sends to the frontend. Seeds are text: JavaScript rounds 64-bit numbers."""
    return {
        "rows": [
            {
                "row": row,
                "seed": str(fate.name),
                "prompt": fate.prompt + 1,
                "scores": [{"step": step, "score": score} for step, score in fate.scores],
                "rank": place,
                "reached": fate.reached,
                "finished": fate.finished,
                "final": fate.final,
                "failure": fate.failure,
                "remark": fate.remark,
                "mark": fate.mark,
                "model_rows": fate.model_rows,
            }
            for place, row in enumerate(outcome.order(), start=1)
            for fate in [outcome.fates[row]]
        ],
        "probe": outcome.probe,
        "label": outcome.label,
        "skilled": outcome.skilled,
        "steps": outcome.steps,
        "model_rows": outcome.model_rows,
        "check_rows": outcome.check_rows,
        "warnings": list(outcome.warnings),
    }


def outcome_text(outcome: Outcome) -> str:
    """What it cost and what came of it; one line per candidate, best first."""
    fates = outcome.fates
    finished = [fate for fate in fates if fate.finished]
    fewer = outcome.rows_of_all() / max(1, outcome.model_rows)
    one = outcome.rows_of_all() / len(fates)
    head = [
        f"Finished {len(finished)} of {len(fates)} candidates: {outcome.model_rows} model rows, "
        f"{fewer:.2f}× fewer than finishing all, {outcome.model_rows / one:.1f}× one image.",
        f"Scores: {outcome.probe}, {outcome.label}, higher is better.",
    ]
    if not outcome.skilled:
        head.append("This score has no measured skill: the survivors are as good as drawn at random.")
    if outcome.check_rows:
        head.append(
            f"{outcome.check_rows} of these rows compared shared model calls with single ones, because other nodes "
            "changed this model."
        )
    head += outcome.warnings
    prompts = len({fate.prompt for fate in fates}) > 1
    names = [f"seed {fate.name}" + (f" of prompt {fate.prompt + 1}" if prompts else "") for fate in fates]
    kept = outcome.survivors()
    lines = [
        f"{place}. {names[row]}: {_fate(fates[row], row in kept)}" for place, row in enumerate(outcome.order(), start=1)
    ]
    return "\n".join(head + lines)


def _fate(fate: Fate, kept: bool) -> str:
    scores = ", ".join(f"{score:.4g} at step {step}" for step, score in fate.scores)
    if fate.failure is not None:
        return f"failed: {fate.failure}"
    if not fate.finished and not fate.reached:
        return "never started, the budget was spent better"
    end = f"dropped after step {fate.reached}" if not fate.finished else "finished" if kept else "finished, not kept"
    judged = f"judged {fate.final:.4g}" if fate.final is not None else ""
    mark = f"{fate.mark} by you" if fate.mark else ""
    return ", ".join(part for part in (end, mark, judged, scores, fate.remark) if part)
