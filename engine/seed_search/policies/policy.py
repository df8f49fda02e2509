"""How a seed search is steered: what a policy sees and what it answers."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class State:
    """What is known between two moments.

    An evaluation is one step of a run's schedule, counted from 1: of samplers that call the model once
    per step, one model evaluation. Those that call it several times pay that much more for each.

    Attributes:
        scores: ``[candidate][moment index]``: the score seen, None where there was none (yet): not
            reached, or a latent that could not be scored.
        reached: evaluations done, per candidate; ``steps`` for one that is finished.
        spent: evaluations of all candidates together so far.
        alive: the candidates that may go on: neither finished nor failed.
        moments: what the policy's :meth:`Policy.moments` gave for this run.
        steps: evaluations of a full run.
    """

    scores: tuple[tuple[float | None, ...], ...]
    reached: tuple[int, ...]
    spent: int
    alive: tuple[int, ...]
    moments: tuple[int, ...]
    steps: int


class Policy(Protocol):
    """Decides who goes on to where. It holds its settings and nothing else: the same state, the same answer."""

    def moments(self, steps: int) -> tuple[int, ...]:
        """The evaluations at which scores are wanted, ascending, each ≥ 1 and < ``steps``."""
        ...

    def next(self, state: State) -> dict[int, int]:
        """Candidate → evaluation to go to next: a later moment, or ``state.steps`` for the end.

        Only candidates in ``state.alive`` may be named. One left out stands still where it is and
        may go on later. Empty: the search is over.
        """
        ...
