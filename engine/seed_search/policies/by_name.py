"""Policies by the names that users choose them by.

What the Seed Search node calls::

    policy = policy_named(SEQUENTIAL, steps=25, candidates=16, survivors=2, budget=100)

and hands to the engine. No policy ever spends more than ``budget`` evaluations; some candidates may
therefore never start.
"""

from ...core.skill import PREVIEW, Skill
from ...core.texts import quoted
from .policy import Policy
from .schedules import Cuts, UntilGoodEnough, halving
from .sequential import Sequential

SEQUENTIAL = "sequential"
ONE_CUT = "one cut"
HALVING = "successive halving"
GOOD_ENOUGH = "until good enough"
POLICIES = (SEQUENTIAL, ONE_CUT, HALVING, GOOD_ENOUGH)
CUT_SHARE = 0.2


def one_cut_cost(steps: int, candidates: int, survivors: int, share: float = CUT_SHARE) -> int:
    """Evaluations of all candidates to one moment and the survivors to the end: the budget when none is given."""
    return Cuts(candidates, *_one_cut(steps, survivors, share)).cost(steps)


def policy_named(
    name: str,
    steps: int,
    candidates: int,
    survivors: int = 1,
    budget: int | None = None,
    skill: Skill = PREVIEW,
    judged: bool = False,
    target: float | None = None,
    share: float = CUT_SHARE,
) -> Policy:
    """A policy ready for one search.

    Args:
        name: one of ``POLICIES``.
        steps: evaluations of a full run, as the sampler does them (``State.steps``).
        candidates: how many there are to choose from.
        survivors: images wanted; all candidates, where there are fewer.
        budget: evaluations of all candidates together, for "about the cost of M images"
            ``round(M * steps)``. None: what one cut of all candidates costs.
        skill: how well the probe's scores predict the end; only the sequential policy asks.
        judged: the best of the finished images will be found by a reward model. The sequential
            policy may then finish more than ``survivors``.
        target: the score that is good enough. "until good enough" needs one.
        share: where one cut lies, as a share of the run, and where "until good enough" looks.

    Raises:
        ValueError: an unknown name, a number below 1, a budget that doesn't pay for the survivors,
            or no target where one is needed.
    """
    if min(steps, candidates, survivors) < 1:
        raise ValueError(f"steps {steps}, candidates {candidates} and survivors {survivors} have to be 1 or more")
    survivors = min(survivors, candidates)
    budget = one_cut_cost(steps, candidates, survivors, share) if budget is None else budget
    if budget < survivors * steps:
        raise ValueError(
            f"a budget of {budget} evaluations does not pay for {survivors} finished images of {steps} evaluations "
            f"each. Raise the budget to the cost of at least {survivors} images, or ask for fewer survivors."
        )
    if name == SEQUENTIAL:
        return Sequential(budget, survivors, skill, judged).looking_late(candidates, steps)
    if name == ONE_CUT:
        at, keep = _one_cut(steps, survivors, share)
        start = (budget - survivors * (steps - at[0])) // at[0] if at else survivors
        return Cuts(min(candidates, start), at, keep)
    if name == HALVING:
        return halving(budget, steps, candidates, survivors)
    if name != GOOD_ENOUGH:
        raise ValueError(f"there is no policy {quoted(name)}; there are {', '.join(POLICIES)}")
    if target is None:
        raise ValueError("“until good enough” needs a target: the score of the probe at which to stop looking")
    return UntilGoodEnough(target, budget, survivors, share=share)


def _one_cut(steps: int, survivors: int, share: float) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return ((min(max(1, round(share * steps)), steps - 1),), (survivors,)) if steps > 1 else ((), ())
