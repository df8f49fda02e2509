"""Outcome of a search: the final state of every candidate as plain values, in JSON and as text."""

from dataclasses import dataclass, replace
from math import inf, nan

from ..core.durations import seconds_text
from ..core.marks import GONE, NOBODY, TIME
from ..core.scores import Scores, SeedName
from ..core.seed_list import next_seed

MARK_ORDER = {"pinned": 1, None: 0, "discarded": -1}


@dataclass(frozen=True)
class CandidateOutcome:
    """Final state of one candidate.

    Attributes:
        name: of the noise that it started from.
        prompt: index of its prompt, from 0.
        scores: (step, score) of each moment at which it was scored, ascending.
        reached: steps done.
        model_rows: model rows spent on it.
        evaluations: evaluations of its run.
        finished: whether it was sampled to the last step.
        reward: reward of the finished image, if a reward model scored it.
        failure: the error that ended its run, None if none did.
        remark: why it has no score at its last moment, or no reward; None if it has.
        mark: the user's mark on the seed board: "pinned", "discarded" or None.
    """

    name: SeedName
    prompt: int
    scores: tuple[tuple[int, float], ...]
    reached: int
    model_rows: int
    evaluations: int
    finished: bool
    reward: float | None = None
    failure: str | None = None
    remark: str | None = None
    mark: str | None = None

    @property
    def last_score(self) -> float | None:
        """Its last score, None without any."""
        return self.scores[-1][1] if self.scores else None

    def sort_key(self) -> tuple:
        """Return a key that is larger for better candidates.

        Finished candidates come first, ordered by mark, then by reward or last score. The others are ordered by
        mark, then by how far they came.
        """
        step, score = self.scores[-1] if self.scores else (0, -inf)
        reward = self.reward if self.reward is not None else -inf
        return self.finished, MARK_ORDER[self.mark], reward, step, score


@dataclass(frozen=True)
class Outcome:
    """Final states of all candidates, and what the search cost.

    Attributes:
        candidates: in their order before the search; a candidate's number is its index here.
        steps: steps of a full run.
        wanted: how many survivors the user wanted.
        probe: name of the probe.
        label: unit of its scores.
        skilled: whether the probe has measured skill.
        sampler: name of the sampler function.
        calibration: the probe's, see :class:`Scores`.
        warnings: sentences that the user should read about how it went.
        reward_label: unit of the rewards, None without a reward model.
        check_rows: model rows spent beside those of the candidates, to check that none changes another's image.
        chooses: whether the user alone chose who was finished, because there was no probe.
        adds: whether the candidates were all finished because the user had chosen them from an earlier search.
        hold: how the wait for the user ended, see ``core.marks``; None if the search did not come so far.
        seconds: that the search took, without waiting for the user; None if nobody counted them.
        looks, look_seconds: looks at candidates on their way, and the seconds of all.
        look_price: what the budget counts for the looks, in steps.
        seconds_per_row: seconds of a model row; None if unknown.
    """

    candidates: tuple[CandidateOutcome, ...]
    steps: int
    wanted: int
    probe: str
    label: str
    skilled: bool
    sampler: str = ""
    calibration: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()
    reward_label: str | None = None
    check_rows: int = 0
    chooses: bool = False
    adds: bool = False
    hold: str | None = None
    seconds: float | None = None
    looks: int = 0
    look_seconds: float = 0.0
    look_price: float = 0.0
    seconds_per_row: float | None = None

    def order(self) -> list[int]:
        """Return all candidates' numbers, best first; of equals the earlier first.

        Candidates of an earlier search that were chosen then keep the order of the choice.
        """
        if self.adds:
            numbers = range(len(self.candidates))
            return sorted(numbers, key=lambda number: not self.candidates[number].finished)
        return sorted(range(len(self.candidates)), key=lambda number: self.candidates[number].sort_key(), reverse=True)

    def choice(self) -> str:
        """Return a sentence on how the finished candidates were chosen; empty if a probe's scores did."""
        finished = [each for each in self.candidates if each.finished]
        if self.adds:
            return "These candidates were chosen from an earlier search."
        if self.hold == NOBODY and self.chooses:
            return (
                "Nobody could choose, because no browser shows the board: the first in order were finished. Name them "
                'in "finish" to choose over the API, or connect a probe.'
            )
        if finished or not self.hold:
            return ""
        why = {TIME: "The time was up and nothing was picked", GONE: "The browser was gone and nothing was picked"}
        return (
            f"{why.get(self.hold, 'Nothing was picked')}, so nothing was finished. "
            'The candidates can still be finished from the board, or by their seeds in "finish".'
        )

    def survivors(self) -> list[int]:
        """Return the numbers of the survivors, best first.

        They are as many finished candidates as wanted, or more if more are pinned, and none that was discarded.
        """
        candidates = self.candidates
        finished = [
            number for number in self.order() if candidates[number].finished and candidates[number].mark != "discarded"
        ]
        pinned = sum(candidates[number].mark == "pinned" for number in finished)
        return finished[: max(self.wanted, pinned)]

    @property
    def next_seed(self) -> str:
        """First seed after those of the candidates, as text because JavaScript rounds 64-bit numbers."""
        return str(next_seed(each.name for each in self.candidates))

    @property
    def model_rows(self) -> int:
        """Model rows of the search, checks included."""
        return sum(each.model_rows for each in self.candidates) + self.check_rows

    @property
    def spent(self) -> float:
        """Steps that the budget counts: those of all candidates, and the price of the looks."""
        return sum(each.reached for each in self.candidates) + self.look_price

    def rows_of_all(self) -> float:
        """Return the model rows that finishing all candidates would have taken; NaN if none was finished."""
        finished = [each.model_rows for each in self.candidates if each.finished]
        return len(self.candidates) * sum(finished) / len(finished) if finished else nan

    def scores(self) -> Scores:
        """Return the last score of every candidate that has one, in their order, and where it was dropped.

        A candidate that was finished and is not among the survivors was dropped at the end.
        """
        survivors = self.survivors()
        numbers = [number for number, each in enumerate(self.candidates) if each.scores]
        dropped_at = tuple(None if number in survivors else self._end_of(number) for number in numbers)
        return replace(self._last_scores(numbers), dropped_at=dropped_at)

    def _end_of(self, number: int) -> str:
        candidate = self.candidates[number]
        return "the end" if candidate.finished else f"step {candidate.reached}"

    def kept_scores(self) -> Scores:
        """Return the survivors' rewards, best first; without a reward model their last scores of the probe.

        NaN for a survivor that has none.
        """
        last = self._last_scores(self.survivors())
        if self.reward_label is None:
            return last
        rewards = (self.candidates[number].reward for number in self.survivors())
        return replace(
            last,
            values=tuple(nan if reward is None else reward for reward in rewards),
            probe="final reward",
            label=self.reward_label,
            moment="the end",
            step=self.steps,
            skilled=True,
            calibration=(),
        )

    def _last_scores(self, numbers: list[int]) -> Scores:
        candidates = [self.candidates[number] for number in numbers]
        moments = sorted({step for each in candidates for step, _ in each.scores})
        return Scores(
            values=tuple(nan if each.last_score is None else each.last_score for each in candidates),
            seeds=tuple(each.name for each in candidates),
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
    """Return the outcome as the frontend gets it, as values that JSON can carry."""
    return {
        "rows": [
            _report_row(number, outcome.candidates[number], rank)
            for rank, number in enumerate(outcome.order(), start=1)
        ],
        "probe": outcome.probe,
        "label": outcome.label,
        "skilled": outcome.skilled,
        "steps": outcome.steps,
        "model_rows": outcome.model_rows,
        "check_rows": outcome.check_rows,
        "looks": outcome.looks,
        "seconds": outcome.seconds,
        "look_seconds": outcome.look_seconds,
        "look_price": outcome.look_price,
        "spent": outcome.spent,
        "next_seed": outcome.next_seed,
        "warnings": list(outcome.warnings),
    }


def _report_row(number: int, candidate: CandidateOutcome, rank: int) -> dict:
    return {
        "row": number,
        "seed": str(candidate.name),  # text: JavaScript rounds 64-bit numbers
        "prompt": candidate.prompt + 1,
        "scores": [{"step": step, "score": score} for step, score in candidate.scores],
        "rank": rank,
        "reached": candidate.reached,
        "finished": candidate.finished,
        "final": candidate.reward,
        "failure": candidate.failure,
        "remark": candidate.remark,
        "mark": candidate.mark,
        "model_rows": candidate.model_rows,
    }


def outcome_text(outcome: Outcome) -> str:
    """Return the costs of the search, and one line per candidate, best first."""
    candidates = outcome.candidates
    finished = sum(each.finished for each in candidates)
    fewer = outcome.rows_of_all() / max(1, outcome.model_rows)
    one = outcome.rows_of_all() / len(candidates)
    cost = f"{outcome.model_rows} model rows"
    if finished and not outcome.adds:
        cost += f", {fewer:.2f}× fewer than finishing all, {outcome.model_rows / one:.1f}× one image"
    head = [f"Finished {finished} of {len(candidates)} candidates: {cost}."]
    if outcome.seconds is not None:
        head.append(_seconds_line(outcome))
    if outcome.choice():
        head.append(outcome.choice())
    if outcome.probe:
        head.append(f"Scores: {outcome.probe}, {outcome.label}, higher is better.")
    if outcome.probe and not outcome.skilled:
        head.append("This score has no measured skill: the survivors are as good as drawn at random.")
    if outcome.check_rows:
        head.append(
            f"{outcome.check_rows} of these rows compared shared model calls with single ones, because other nodes "
            "changed this model."
        )
    head += outcome.warnings
    prompts = len({each.prompt for each in candidates}) > 1
    names = [f"seed {each.name}" + (f" of prompt {each.prompt + 1}" if prompts else "") for each in candidates]
    survivors = outcome.survivors()
    lines = [
        f"{rank}. {names[number]}: {_candidate_text(candidates[number], number in survivors, outcome.chooses)}"
        for rank, number in enumerate(outcome.order(), start=1)
    ]
    return "\n".join(head + lines)


def _seconds_line(outcome: Outcome) -> str:
    """Return a sentence on the seconds of a search and on what its budget counts, and what the looks are of both."""
    line = f"It took {seconds_text(outcome.seconds or 0.0)}"
    if not outcome.looks:
        return f"{line}."
    rows = outcome.look_seconds / outcome.seconds_per_row if outcome.seconds_per_row else 0.0
    return (
        f"{line}, of that {seconds_text(outcome.look_seconds)} for {outcome.looks} looks at candidates, as long as "
        f"{rows:.1f} model rows. The budget counts {outcome.spent:.1f} steps, of that {outcome.look_price:.1f} for the "
        "looks."
    )


def _candidate_text(candidate: CandidateOutcome, survives: bool, chooses: bool) -> str:
    if candidate.failure is not None:
        return f"failed: {candidate.failure}"
    if not candidate.finished and not candidate.reached:
        return "never started, the budget was spent better"
    end = "finished" if survives else "finished, not kept"
    if not candidate.finished:
        end = f"{'not chosen' if chooses else 'dropped'} after step {candidate.reached}"
    scores = ", ".join(f"{score:.4g} at step {step}" for step, score in candidate.scores)
    reward = f"reward {candidate.reward:.4g}" if candidate.reward is not None else ""
    mark = {"pinned": "picked by you", "discarded": "discarded by you"}.get(candidate.mark or "", "")
    return ", ".join(part for part in (end, mark, reward, scores, candidate.remark) if part)
