"""Policies of a search in which the user decides: all candidates to one moment, and then those that are pinned."""

from dataclasses import dataclass

from ...core.marks import GONE, NOBODY
from .by_name import CUT_SHARE, cut_moment
from .policy import Policy, State


@dataclass(frozen=True)
class Chosen(Policy):
    """All candidates are sampled to one moment. Only pins continue them from there, see :func:`goals_with_marks`.

    Attributes:
        share: the moment, as a share of the steps of a full run.
    """

    share: float = CUT_SHARE

    def moments(self, steps: int) -> tuple[int, ...]:
        """Return the one moment.

        Raises:
            ValueError: a run of one step, which has none.
        """
        if steps < 2:
            raise ValueError(
                "with 1 step there is no moment at which you could choose: a candidate is finished after it. Set steps "
                "to 2 or more, or sample all seeds with Seed Batch and KSampler."
            )
        return (cut_moment(steps, self.share),)

    def next(self, state: State) -> dict[int, int]:
        """Return the moment as the goal of all candidates; then nothing."""
        return dict.fromkeys(state.alive, state.moments[0]) if state.spent == 0 else {}


@dataclass(frozen=True)
class InOrder(Policy):
    """A number of candidates is finished, in their order, whatever their scores; 0: only those that are pinned.

    Attributes:
        count: how many.
    """

    count: int = 0

    def moments(self, steps: int) -> tuple[int, ...]:
        """Return no moment."""
        return ()

    def next(self, state: State) -> dict[int, int]:
        """Return the end as the goal of the first candidates, until so many are finished."""
        return dict.fromkeys(state.alive[: max(0, self.count - state.finished)], state.steps)


def after_hold(policy: Policy, end: str, survivors: int) -> Policy:
    """Return the policy that decides after a hold.

    Nothing is chosen for a user who could choose and did not, in a search without scores or when the browser is gone.
    Where nobody could choose and there are no scores, the first candidates are finished.

    Args:
        policy: of the search until then.
        end: how the hold ended: ``GO``, ``TIME``, ``GONE`` or ``NOBODY`` of ``core.marks``.
        survivors: how many finished images are wanted.
    """
    if isinstance(policy, Chosen):
        return InOrder(survivors if end == NOBODY else 0)
    return InOrder(0) if end == GONE else policy
