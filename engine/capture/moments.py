"""Moments of a run at which features are captured.

A moment is a fraction p of the schedule by noise level (``20%``), or the k-th evaluation
(``step 5``). 20 % means the last model evaluation whose sigma is above ``percent_to_sigma(0.2)``.
By noise level because a probe depends on the noise level, not on the step index (Diffusion Probe,
section on step counts), and because the schedule of a sampler that stops early does not show how many
steps the whole run has.
"""

import copy
import re
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..core.readback import to_host
from ..core.samplers import traits_of
from ..core.texts import plain

AUTO = "auto"
"""Text for the family's default moment."""

FEW_STEPS = 8
"""Largest number of steps of a schedule that reaches 20 % after one evaluation: auto takes the next one."""

MOST_MOMENTS = 256
"""Largest number of moments of one run."""

PERCENT = re.compile(r"([0-9]{1,40}(?:\.[0-9]{1,40})?)\s*%")
STEP = re.compile(r"step\s*([0-9]{1,9})")

SIGMA_TOLERANCE = 1e-3
"""Relative tolerance of sigmas, because schedulers read them from a table of 1000 and round."""


@dataclass(frozen=True)
class Moment:
    """Moment of a run: either ``percent`` (0 to 1) or ``step`` (from 1) is set."""

    percent: float | None = None
    step: int | None = None

    def __str__(self) -> str:
        return f"step {self.step}" if self.step is not None else f"{100 * self.percent:g}%"


def parse_moments(text: str) -> tuple[Moment, ...] | None:
    """Parse moments that a user wrote: ``auto`` (returns None), or ``20%, 40%, step 5``.

    Raises:
        ValueError: something else, a fraction outside of 0 to 100 %, a step below 1, nothing at all, too many.
    """
    entries = [entry.strip().lower() for entry in text.split(",") if entry.strip()]
    if entries == [AUTO]:
        return None
    moments: list[Moment] = []
    for entry in entries:
        percent, step = PERCENT.fullmatch(entry), STEP.fullmatch(entry)
        if percent and 0 < float(percent[1]) < 100:
            moments.append(Moment(percent=float(percent[1]) / 100))
        elif step and int(step[1]) >= 1:
            moments.append(Moment(step=int(step[1])))
        else:
            raise ValueError(
                f'"{plain(entry)}" is no moment. Accepted, separated by commas: a noise level between 0 and 100 % '
                f'such as "20%", an evaluation counted from 1 such as "step 5", or "auto" alone.'
            )
    if not moments:
        raise ValueError('there is no moment. Write "auto", or for example "20%" or "20%, step 8".')
    moments = list(dict.fromkeys(moments))
    if len(moments) > MOST_MOMENTS:
        raise ValueError(f"{len(moments)} moments are too many. Write at most {MOST_MOMENTS}.")
    return tuple(moments)


def one_moment(text: str) -> str | None:
    """Parse one moment that a user wrote, and return its name in records; None, for the latest, without a text.

    Raises:
        ValueError: more than one, or as :func:`parse_moments`.
    """
    if not text.strip():
        return None
    moments = parse_moments(text)
    if moments is None or len(moments) > 1:
        raise ValueError(
            f'"{plain(text)}" is not one moment. Write one, such as "20%" or "step 5"; nothing means the latest.'
        )
    return str(moments[0])


def sampling_on_host(model_sampling: Any) -> Any:
    """Return a sampling object whose tables are on the CPU, so that noise levels are found without waits for a device.

    It is the object itself where they are there already.
    """
    tables = getattr(model_sampling, "_buffers", {})
    if all(table is None or table.device.type == "cpu" for table in tables.values()):
        return model_sampling
    host = copy.copy(model_sampling)
    host._buffers = dict(zip(tables, to_host(list(tables.values())), strict=True))
    return host


def percent_of_sigma(model_sampling: Any, sigma: float) -> float:
    """Return the fraction p with ``percent_to_sigma(p) == sigma``, by bisection; 0 at and above the top."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if model_sampling.percent_to_sigma(middle) > sigma:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def schedule_steps(model_sampling: Any, sigmas: Tensor) -> float:
    """Estimate the number of steps of the whole schedule of which ``sigmas`` may be a section.

    A run that is cut has only its own sigmas; the whole is estimated from the share of the noise range that they
    cover.
    """
    steps = len(sigmas) - 1
    first, last = (percent_of_sigma(model_sampling, float(sigma)) for sigma in (sigmas[0], sigmas[-1]))
    covered = last - first if float(sigmas[-1]) > 0 else 1.0 - first
    return steps / covered if covered > 0 else float("inf")


class MomentPlan:
    """Plan of the evaluations of one run that are captured.

    Args:
        moments: the moments, or None for the default: that of the family, in schedules of
            at most 8 steps the evaluation after the first.
        sigmas: the run's schedule, ``[steps + 1]``, falling.
        model_sampling: the model's sampling object.
        sampler_name: name of the sampler function.
        default: of the family, a fraction of the noise range.
    """

    def __init__(
        self,
        moments: tuple[Moment, ...] | None,
        sigmas: Tensor,
        model_sampling: Any,
        sampler_name: str,
        default: float,
    ):
        sigmas = sigmas.cpu()
        self.sigmas = sigmas.tolist()
        self.model_sampling = model_sampling = sampling_on_host(model_sampling)
        self.own_sigmas = traits_of(sampler_name).own_sigmas
        if moments is None:
            few = round(schedule_steps(model_sampling, sigmas)) <= FEW_STEPS
            moments = (Moment(step=min(2, len(self.sigmas) - 1)) if few else Moment(percent=default),)
        self.moments = moments

    def percent(self, sigma: float) -> float:
        """Return where a noise level is in the whole noise range, see :func:`percent_of_sigma`."""
        return percent_of_sigma(self.model_sampling, sigma)

    def _above(self, moment: Moment) -> float:
        return float(self.model_sampling.percent_to_sigma(moment.percent)) * (1 + SIGMA_TOLERANCE)

    def why_outside(self, moment: Moment) -> str | None:
        """Return why this run cannot contain a moment by noise level, None if it does."""
        above = self._above(moment)
        first, last = (100 * percent_of_sigma(self.model_sampling, s) for s in (self.sigmas[0], self.sigmas[-1]))
        covered = f"the run covers {first:.0f}% to {last:.0f}% of the noise range"
        if self.sigmas[0] <= above:
            return f"{covered}; {moment} lies before its start. Ask for a later moment, or start at an earlier step."
        if self.sigmas[-1] > above:
            return f"{covered}; {moment} lies after its end. Ask for an earlier moment, or end at a later step."
        return None

    def wanted(self, step: int, sigma: float) -> list[Moment]:
        """Return the moments that evaluation ``step`` (from 1) at ``sigma`` may be.

        A later evaluation for the same moment replaces an earlier one: samplers that evaluate more
        than once per step pass several times below the last schedule sigma above the moment.
        """
        return [moment for moment in self.moments if self._is_wanted(moment, step, sigma)]

    def _is_wanted(self, moment: Moment, step: int, sigma: float) -> bool:
        if moment.step is not None:
            return moment.step == step
        if self.why_outside(moment) is not None:
            return False
        above = self._above(moment)
        if self.own_sigmas:
            return sigma > above
        last_start = min(scheduled for scheduled in self.sigmas if scheduled > above)
        return above < sigma <= last_start * (1 + SIGMA_TOLERANCE)

    def why_missing(self, moment: Moment, evaluations: int) -> str:
        """Return why nothing was captured at a moment in a run of ``evaluations`` evaluations."""
        if moment.step is not None:
            return f"the run had {evaluations} model evaluations, so no {moment}. Ask for step 1 to {evaluations}."
        return self.why_outside(moment) or (
            f"the sampler made no model evaluation just above {moment}. A cache node before the probe (LazyCache) may "
            "have skipped it: connect the cache after the probe, or let it start later."
        )
