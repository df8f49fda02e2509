"""Contract between a seed search and its policy: the state that a policy reads, and the goals that it returns."""

from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True)
class State:
    """Scores and costs of all candidates at a decision, as plain numbers.

    Costs are counted in steps of the schedule. A sampler that evaluates the model once per step spends one
    evaluation on each; one that evaluates it several times per step spends that much more on each. A look costs the
    part of a step that :meth:`Policy.price_at` says.

    Attributes:
        scores: ``[candidate][moment index]``; None where the candidate has no score: it has not reached the
            moment yet, or could not be scored there.
        reached: steps done, per candidate; ``steps`` for a finished one.
        spent: steps done of all candidates together, and the price of all looks at them.
        alive: numbers of the candidates that can continue: neither finished nor failed.
        moments: steps after which candidates are scored: what :meth:`Policy.moments` returned for this run.
        steps: steps of a full run.
    """

    scores: tuple[tuple[float | None, ...], ...]
    reached: tuple[int, ...]
    spent: float
    alive: tuple[int, ...]
    moments: tuple[int, ...]
    steps: int

    @property
    def finished(self) -> int:
        """Number of candidates that were sampled to the last step."""
        return sum(reached == self.steps for reached in self.reached)


class Policy(ABC):
    """Rule that decides which candidates continue, and to which step.

    A policy holds its settings and no state: for equal states it returns equal goals.
    """

    @abstractmethod
    def moments(self, steps: int) -> tuple[int, ...]:
        """Return the steps after which candidates are scored, ascending, each ≥ 1 and < ``steps``."""

    @abstractmethod
    def next(self, state: State) -> dict[int, int]:
        """Return the goals of the candidates that continue: number → a later moment, or ``state.steps``.

        Only candidates in ``state.alive`` may be named. One that is not named pauses, and may continue after a
        later decision. An empty result ends the search.
        """

    def price_at(self, moment: int, steps: int) -> float:
        """Return what a look at one candidate costs at a moment, in steps."""
        return 0.0

    def is_free(self, moment: int, steps: int) -> bool:
        """Tell whether a look at a moment takes the part of the score alone that costs nothing."""
        return False
