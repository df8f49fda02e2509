"""Reasons why a run gives another result when it is cut, or when a row is sampled from its seed alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.samplers import ADAPTIVE_NOTE, called, history_note, traits_of
from .patches import together

if TYPE_CHECKING:
    from .run_watch import RunWatch

CONNECT_THE_MODEL = (
    "There is a noise mask: connect the MODEL that recorded the first run to the second sampler as well. With any "
    "other MODEL everything outside of the mask becomes noise."
)


MOVING_MASK = (
    "The noise mask changes along the schedule of its run (as with Differential Diffusion), and the two runs of a cut "
    "have schedules of their own."
)
GUARANTEED_STEPS = "A keyframe of a hook is guaranteed several steps, which are counted anew in a second run."
RANDOM_INSIDE = "Random numbers are drawn inside of the model (as HyperTile and ToMe do)"
STEPS_TOGETHER = (
    "draws the noise of its steps for the whole batch at once. Sample the MODEL from the node that draws a batch of "
    "seeds: with ComfyUI's own samplers every row then draws its own noise."
)


def why_not_cut(run: RunWatch, sampler: str) -> tuple[str, ...]:
    """Return sentences on why a second sampler that continues the run's rows gives another result than one run.

    Args:
        run: watch of the run.
        sampler: name of its sampler function.
    """
    name, guidance, exact = called(sampler), run.guidance, traits_of(sampler).exact_when_cut
    coupling = guidance.couples or guidance.counts
    reasons = [
        (not exact, history_note(sampler)),
        (exact and run.noise.found, f"{name} adds noise on the way with these settings, and a second run adds other."),
        (run.moving_mask, MOVING_MASK),
        (run.masked and not run.shows_outside, f"{name} hides what lies outside of the noise mask: it becomes noise."),
        (run.guarantees, GUARANTEED_STEPS),
        (run.cache, f"{run.cache} starts anew in a second run."),
        (guidance.remembers, f"{guidance.remembers} uses earlier steps, which a second run doesn't have."),
        (coupling, f"{coupling} works on all rows of the batch together, and a second run has other rows."),
        (guidance.unknown, f"It is not known whether {guidance.unknown} computes each row and step independently."),
        (
            run.remembers and not run.cache,
            f"{together(run.remembers)} uses earlier steps, which a second run doesn't have.",
        ),
        (
            run.may_remember and not run.cache,
            f"It is not known whether {together(run.may_remember)} needs earlier steps.",
        ),
        (run.draws, f"{RANDOM_INSIDE}, and a second run draws others."),
    ]
    return tuple(sentence for applies, sentence in reasons if applies)


def cut_needs(run: RunWatch) -> tuple[str, ...]:
    """Return sentences on what a graph needs so that a cut run gives the same result as one run."""
    return (CONNECT_THE_MODEL,) if run.masked and run.shows_outside else ()


def why_not_alone(run: RunWatch, sampler: str) -> tuple[str, ...]:
    """Return sentences on why a run of a row's seed alone gives another result; none for a run of one row."""
    if run.rows == 1:
        return ()
    guidance = run.guidance
    coupling = guidance.couples or guidance.counts
    reasons = [
        (run.noise.found and not run.by_row, f"{called(sampler)} {STEPS_TOGETHER}"),
        (traits_of(sampler).adaptive, f"{ADAPTIVE_NOTE}."),
        (coupling, f"{coupling} works on all rows of the batch together."),
        (guidance.unknown, f"It is not known whether {guidance.unknown} computes each row independently."),
        (run.cache and run.cache_couples, f"{run.cache} decides for all rows of the batch together."),
        (
            run.holds_rows & run.remembers and not run.cache,
            f"{together(run.holds_rows & run.remembers)} keeps whole batches from one step to the next.",
        ),
        (run.draws, f"{RANDOM_INSIDE}, others than for a row alone."),
    ]
    return tuple(sentence for applies, sentence in reasons if applies)
