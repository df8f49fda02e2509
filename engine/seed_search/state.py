"""State of one search: the one place for what is known of its candidates while the search goes on.

The search writes it, and policy, watcher and result read it. Sampler runs (``hub.coroutine.Run``) own what sampling
itself produces: position in the schedule, evaluations, model rows, latent, and the error that ended a run.
"""

from dataclasses import dataclass, field

from torch import Tensor

from ..core.features import Features
from .candidates import Candidate
from .hub.coroutine import Run
from .outcome import CandidateOutcome
from .policies.policy import State


@dataclass(eq=False)
class CandidateState:
    """One candidate of a search in progress.

    Attributes:
        candidate: its seed, prompt and sampler call.
        run: its sampler run.
        reached: steps done, as policies count them: its last goal, or all steps once it is sampled.
        scores: scores of the probe by moment, in steps, ascending.
        unscored: the error that left it without a score at its last moment.
        features: captured at its last moment, None before. Their attention is dropped once the watcher has read it.
        picture: what the probe decoded at that moment, ``[H, W, 3]`` uint8 of at most 512 px; None if it decodes
            nothing.
        reward: reward of the finished latent, if a reward model scored it.
        unrewarded: the error that left the finished latent without a reward.
    """

    candidate: Candidate
    run: Run
    reached: int = 0
    scores: dict[int, float] = field(default_factory=dict)
    unscored: Exception | None = None
    features: Features | None = None
    picture: Tensor | None = None
    reward: float | None = None
    unrewarded: Exception | None = None

    @property
    def can_continue(self) -> bool:
        """Whether it neither failed nor was sampled to the end."""
        return self.run.error is None and not self.run.sampled

    @property
    def finished(self) -> bool:
        """Whether its run has returned a latent."""
        return self.run.result is not None

    @property
    def last_score(self) -> tuple[int, float] | None:
        """Moment and value of its last score, None without any."""
        return next(reversed(self.scores.items()), None)

    @property
    def error(self) -> Exception | None:
        """Error that keeps it from being finished: of its run, or of its last score."""
        return self.run.error or self.unscored

    def leave_unscored(self, moment: int, why: str | Exception) -> None:
        """Note why it has no score at a moment; no policy continues it then."""
        self.unscored = ValueError(f"not scored at step {moment}: {why}")

    def outcome(self, mark: str | None) -> CandidateOutcome:
        """Return its final state as plain values; ``mark`` is the user's: "pinned", "discarded" or None."""
        remark = str(self.unscored) if self.unscored else None
        if self.unrewarded:
            remark = f"no reward: {self.unrewarded}"
        return CandidateOutcome(
            name=self.candidate.name,
            prompt=self.candidate.prompt,
            scores=tuple(self.scores.items()),
            reached=self.reached,
            model_rows=self.run.model_rows,
            evaluations=self.run.evaluations,
            finished=self.finished,
            reward=self.reward,
            failure=error_text(self.run.error) if self.run.error else None,
            remark=remark,
            mark=mark,
        )


@dataclass(eq=False)
class SearchState:
    """All candidates of a search in progress.

    Attributes:
        candidates: their states; a candidate's number is its index here.
        steps: steps of a full run; 0 before the first run has started.
        moments: steps after which candidates are scored, ascending.
        hold: how the wait for the user at the last cut ended, see ``core.marks``; None before.
        remark: sentence on how many candidates start; empty if all do.
        look_price: price of all looks so far, in steps, as the policy counts them.
        finishes: whether all candidates are sampled to the end, because the user chose them before.
    """

    candidates: list[CandidateState]
    steps: int = 0
    moments: tuple[int, ...] = ()
    hold: str | None = None
    look_price: float = 0.0
    finishes: bool = False
    remark: str = ""

    def for_policy(self) -> State:
        """Return scores and costs as plain numbers, as policies read them."""
        candidates = self.candidates
        reached = tuple(each.reached for each in candidates)
        return State(
            scores=tuple(tuple(each.scores.get(moment) for moment in self.moments) for each in candidates),
            reached=reached,
            spent=sum(reached) + self.look_price,
            alive=tuple(number for number, each in enumerate(candidates) if each.can_continue),
            moments=self.moments,
            steps=self.steps,
        )

    def rows_of_all(self) -> float | None:
        """Return the model rows that finishing all candidates takes, by those computed so far; None before any."""
        finished = [each.run.model_rows for each in self.candidates if each.finished or each.run.sampled]
        if finished:
            return len(self.candidates) * sum(finished) / len(finished)
        steps = sum(each.reached for each in self.candidates)
        rows = sum(each.run.model_rows for each in self.candidates if each.reached)
        return len(self.candidates) * self.steps * rows / steps if steps else None


def error_text(error: Exception) -> str:
    """Return the message of an error without its full stop; its type, if it has no message."""
    return str(error).rstrip(".") or type(error).__name__
