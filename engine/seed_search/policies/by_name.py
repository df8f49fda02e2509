"""Policies by the names under which users choose them.

Example::

    policy = policy_named(SEQUENTIAL, steps=25, candidates=16, survivors=2, budget=100)

No policy spends more than ``budget`` steps, with its looks; some candidates may therefore never start.
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

ROUNDING = 1e-6
"""Steps that sums of prices may be off by."""

CUT_SHARE = 0.2
"""Share of a run after which one cut is made."""


def one_cut_cost(
    steps: int, candidates: int, survivors: int, share: float = CUT_SHARE, look_price: float = 0.0
) -> float:
    """Return the steps of sampling all candidates to one moment and the survivors to the end: the default budget.

    Args:
        look_price: steps that a look at a candidate costs.
    """
    return _one_cut(candidates, steps, survivors, share, look_price).cost(steps)


def policy_named(
    name: str,
    steps: int,
    candidates: int,
    survivors: int = 1,
    budget: float | None = None,
    *,
    skill: Skill = PREVIEW,
    final_reward: bool = False,
    target: float | None = None,
    share: float = CUT_SHARE,
    look_price: float = 0.0,
    free_skill: Skill | None = None,
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
        look_price: steps that a look at a candidate costs. Where the budget doesn't pay for looks at the survivors,
            they are finished without any.
        free_skill: how well the part of a score predicts the reward that costs nothing, as
            :attr:`Sequential.free_skill`; only the sequential policy uses it.

    Raises:
        ValueError: an unknown name, a number below 1, a budget that does not pay for the survivors,
            or a missing target.
    """
    if min(steps, candidates, survivors) < 1:
        raise ValueError(f"steps {steps}, candidates {candidates} and survivors {survivors} have to be 1 or more")
    survivors = min(survivors, candidates)
    budget = one_cut_cost(steps, candidates, survivors, share, look_price) if budget is None else budget
    if budget < survivors * steps:
        raise ValueError(
            f"a budget of {budget} steps does not pay for {survivors} finished images of {steps} steps each. "
            f"Raise the budget to the cost of at least {survivors} images, or ask for fewer survivors."
        )
    if name == SEQUENTIAL:
        policy = Sequential(budget, survivors, skill, final_reward, look_price=look_price, free_skill=free_skill)
        return policy.planned(candidates, steps)
    if name == ONE_CUT:
        affordable = survivors
        if steps > 1:
            moment = cut_moment(steps, share)
            affordable = int((budget - survivors * (steps - moment) + ROUNDING) // (moment + look_price))
            if affordable < survivors:
                return Cuts(survivors, (), ())
        return _one_cut(min(candidates, affordable), steps, survivors, share, look_price)
    if name == HALVING:
        return halving(budget, steps, candidates, survivors, look_price=look_price)
    if name != GOOD_ENOUGH:
        raise ValueError(f"there is no policy {quoted(name)}; there are {', '.join(POLICIES)}")
    if target is None:
        raise ValueError('"until good enough" needs a target: the score of the probe at which to stop looking')
    return UntilGoodEnough(target, budget, survivors, share=share, look_price=look_price)


def _one_cut(start: int, steps: int, survivors: int, share: float, look_price: float = 0.0) -> Cuts:
    """Return a schedule with one cut; with none if a run has a single step."""
    if steps == 1:
        return Cuts(start, (), ())
    return Cuts(start, (cut_moment(steps, share),), (survivors,), look_price)


def cut_moment(steps: int, share: float) -> int:
    """Return the step after a share of a run of at least two steps, before its last one."""
    return min(max(1, round(share * steps)), steps - 1)
