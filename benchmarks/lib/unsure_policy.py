"""Sequential policy for scores whose skill nobody has measured: it weighs several skills by how they fit the scores.

Skills differ in how scores of different moments go together: those of a network that was tuned on previews already
resemble the later ones early in a run, and those of a weak reward don't even late. So each look says a little about
which of the skills the scores have, whatever the prompt and the unit.

A candidate for the default of probes without a measured skill. It is measured only: no node uses it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from diffusion_probe.engine.core.skill import Skill
from diffusion_probe.engine.seed_search.policies.policy import State
from diffusion_probe.engine.seed_search.policies.sequential import Sequential

TRUST = 0.5
"""Weight of the evidence: scores of one candidate are closer to each other than independent measurements are."""

LEAST_CORRELATION, MOST_LIKENESS = 0.02, 0.995
"""Bounds of the correlation with the finished score, and of that between two looks."""

_PROGRESS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75)

UNTUNED = Skill(
    _PROGRESS, (0.10, 0.24, 0.48, 0.67, 0.78, 0.86, 0.93), (0.57, 1.25, 1.32, 1.19, 1.10, 1.05, 1.01), "previews"
)
"""Skill of ImageReward on previews, spreads as shares of that of finished images; means of FLUX and SDXL."""

TUNED = Skill(
    _PROGRESS, (0.19, 0.43, 0.68, 0.79, 0.85, 0.89, 0.93), (0.65, 0.79, 0.87, 0.90, 0.91, 0.93, 0.93), "noise-aware"
)
"""Skill of a network that was tuned on previews to predict ImageReward of the finished image."""

WEAK = Skill(
    _PROGRESS, (0.06, 0.15, 0.31, 0.47, 0.59, 0.71, 0.83), (0.57, 1.25, 1.32, 1.19, 1.10, 1.05, 1.01), "weak previews"
)
"""Skill of previews that know .35 times as much, as odds of the variance explained."""

SKILLS = (UNTUNED, TUNED, WEAK)
PRIOR = (0.4, 0.4, 0.2)


@dataclass(frozen=True)
class Unsure(Sequential):
    """Sequential policy with the mean of several skills, weighed anew at each decision.

    Attributes:
        skills: what the scores' skill may be, all at the same points of a run and with spreads.
        prior: weight of each before the first look.
    """

    skills: tuple[Skill, ...] = SKILLS
    prior: tuple[float, ...] = PRIOR

    def next(self, state: State) -> dict[int, int]:
        """Return the goals of the sequential policy with the skill as it is known by now."""
        weights = likely(self.skills, self.prior, state) if state.spent else self.prior
        return self._with(weights).next(state)

    def start(self, candidates: int, moments: tuple[int, ...], steps: int) -> tuple[int, int]:
        """Return the start of the sequential policy with the skill before any look."""
        return self._with(self.prior).start(candidates, moments, steps)

    def _with(self, weights: Sequence[float]) -> Sequential:
        skill = blended(self.skills, weights)
        settings = (self.budget, self.survivors, skill, self.final_reward, self.shares, self.draws, self.boldness)
        return Sequential(*settings)


def blended(skills: Sequence[Skill], weights: Sequence[float]) -> Skill:
    """Return the weighted mean of skills with the same points: of correlations, and of the logarithms of spreads."""
    correlation = np.average([skill.correlation for skill in skills], axis=0, weights=weights)
    spread = np.exp(np.average(np.log([skill.spread for skill in skills]), axis=0, weights=weights))
    return replace(skills[0], correlation=tuple(correlation), spread=tuple(spread), source="weighed by the scores")


def likely(skills: Sequence[Skill], prior: Sequence[float], state: State) -> tuple[float, ...]:
    """Return the weight of each skill after the scores of a state, rounded to hundredths."""
    evidence = TRUST * np.array([log_likelihood(skill, state) for skill in skills])
    weights = np.array(prior) * np.exp(evidence - evidence.max())
    return tuple(np.round(weights / weights.sum(), 2).tolist())


def log_likelihood(skill: Skill, state: State) -> float:
    """Return the log likelihood of the scores' differences between candidates, up to a constant.

    At each moment a candidate's score is regressed on its score at the moment before: under ``skill`` two looks
    correlate by the ratio of their correlations with the finished score. The unit of all scores is unknown and
    integrated out. Who continued depends on earlier scores only, so dropped candidates bias nothing.
    """
    correlations = np.sqrt(skill.certainty(state.moments, state.steps)[1:-1]).clip(min=LEAST_CORRELATION)
    spreads = skill.spreads(state.moments, state.steps)
    scores = np.array([[np.nan if score is None else score for score in row] for row in state.scores], dtype=float)
    squares, count, total, before = 0.0, 0, 0.0, None
    for moment in range(len(state.moments)):
        seen = np.isfinite(scores[:, moment])
        if before is not None:
            seen &= np.isfinite(scores[:, before])
        if seen.sum() < 2:
            break
        off, variance = scores[seen, moment] - scores[seen, moment].mean(), spreads[moment] ** 2
        if before is not None:
            likeness = min(correlations[before] / correlations[moment], MOST_LIKENESS)
            earlier = scores[seen, before] - scores[seen, before].mean()
            off = off - likeness * spreads[moment] / spreads[before] * earlier
            variance *= 1 - likeness**2
        free = int(seen.sum()) - 1
        squares, count, total, before = squares + (off**2).sum() / variance, count + free, total, moment
        total -= free / 2 * np.log(variance)
    return float(total - count / 2 * np.log(max(squares, 1e-12))) if count else 0.0
