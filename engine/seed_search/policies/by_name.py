"""Policies by the names under which users choose them.

Example::

    policy = policy_named(SEQUENTIAL, steps=25, candidates=16, survivors=2, budget=100)

No policy spends more than ``budget`` steps; some candidates may therefore never start.
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
"""Share of a run after which one cut is made."""


def one_cut_cost(steps: int, candidates: int, survivors: int, share: float = CUT_SHARE) -> int:
    """Return the steps of sampling all candidates to one moment and the survivors to the end: the default budget."""
    return _one_cut(candidates, steps, survivors, share).cost(steps)


def policy_named(
    name: str,
    steps: int,
    candidates: int,
    survivors: int = 1,
    budget: int | None = None,
    *,
    skill: Skill = PREVIEW,
    final_reward: bool = False,
    target: float | None = None,
    share: float = CUT_SHARE,
) -> Policy:
    """Make the policy for one search.

    Args:
        name: one of ``POLICIES``.
        steps: steps of a full run (``State.steps``).
        candidates: how many there are to choose from.
        survivors: images wanted; all candidates, if there are fewer.
        budget: steps of all candidates together, for "about the cost of M images"
            ``round(M * steps)``. None: what one cut of all candidates costs.
        skill: how well the probe's scores predict the reward; only the sequential policy uses it.
        final_reward: whether the best of the finished images will be found by a reward model. The sequential
            policy may then finish more than ``survivors``.
        target: the score that is good enough; "until good enough" needs one.
        share: the moment of one cut, and of "until good enough", as a share of the run.

    Raises:
        ValueError: an unknown name, a number below 1, a budget that does not pay for the survivors,
            or a missing target.
    """
    if min(steps, candidates, survivors) < 1:
        raise ValueError(f"steps {steps}, candidates {candidates} and survivors {survivors} have to be 1 or more")
    survivors = min(survivors, candidates)
    budget = one_cut_cost(steps, candidates, survivors, share) if budget is None else budget
    if budget < survivors * steps:
        raise ValueError(
            f"a budget of {budget} steps does not pay for {survivors} finished images of {steps} steps each. "
            f"Raise the budget to the cost of at least {survivors} images, or ask for fewer survivors."
        )
    if name == SEQUENTIAL:
        return Sequential(budget, survivors, skill, final_reward).without_unused_moments(candidates, steps)
    if name == ONE_CUT:
        affordable = survivors
        if steps > 1:
            moment = cut_moment(steps, share)
            affordable = (budget - survivors * (steps - moment)) // moment
        return _one_cut(min(candidates, affordable), steps, survivors, share)
    if name == HALVING:
        return halving(budget, steps, candidates, survivors)
    if name != GOOD_ENOUGH:
        raise ValueError(f"there is no policy {quoted(name)}; there are {', '.join(POLICIES)}")
    if target is None:
        raise ValueError('"until good enough" needs a target: the score of the probe at which to stop looking')
    return UntilGoodEnough(target, budget, survivors, share=share)


def _one_cut(start: int, steps: int, survivors: int, share: float) -> Cuts:
    """Return a schedule with one cut; with none if a run has a single step."""
    if steps == 1:
        return Cuts(start, (), ())
    return Cuts(start, (cut_moment(steps, share),), (survivors,))


def cut_moment(steps: int, share: float) -> int:
    """Return the step after a share of a run of at least two steps, before its last one."""
    return min(max(1, round(share * steps)), steps - 1)
