"""How a seed search is steered: what a policy sees, what it answers, and the simplest policy."""

from dataclasses import dataclass
from typing import Protocol

from .ranking import best_first


@dataclass(frozen=True)
class State:
    """What is known between two moments. Evaluations are those of one candidate's run (NFE), from 1.

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


@dataclass(frozen=True)
class OneCut:
    """All candidates to one moment, the best from there to the end (Probe-Select's schedule).

    Attributes:
        survivors: how many are finished; all, where there are fewer candidates.
        share: where the cut lies, as a share of the evaluations of a full run.
    """

    survivors: int = 1
    share: float = 0.2

    def moments(self, steps: int) -> tuple[int, ...]:
        """One moment: ``share`` of the run, rounded, but at least the first evaluation; none where one step is all."""
        return (min(max(1, round(self.share * steps)), steps - 1),) if steps > 1 else ()

    def next(self, state: State) -> dict[int, int]:
        """First everyone to the moment, then the best to the end."""
        cut = state.moments[0] if state.moments else 0
        if waiting := [row for row in state.alive if state.reached[row] < cut]:
            return dict.fromkeys(waiting, cut)
        scored = [row for row in state.alive if not state.moments or state.scores[row][0] is not None]
        finished = sum(reached == state.steps for reached in state.reached)
        values = [state.scores[row][0] if state.moments else 0.0 for row in scored]
        best = [scored[place] for place in best_first(values)][: max(0, self.survivors - finished)]
        return dict.fromkeys(best, state.steps)
