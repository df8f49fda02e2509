"""Reasons for users why a cut run ends elsewhere, and why a seed alone doesn't give its row again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.samplers import ADAPTIVE_NOTE, called, history_note, traits_of
from .patches import together

if TYPE_CHECKING:
    from .run_watch import RunWatch

CONNECT_THE_MODEL = (
    "There is a noise mask: connect the MODEL of Attach Probe to the second sampler as well. With any other MODEL what "
    "lies outside of the mask becomes noise."
)


MOVING_MASK = (
    "The noise mask changes along the schedule of its run (as with Differential Diffusion), and the two runs of a cut "
    "have schedules of their own."
)
GUARANTEED_STEPS = "A keyframe of a hook is guaranteed several steps, which are counted anew in a second run."
RANDOM_INSIDE = "Random numbers are drawn inside of the model (as HyperTile and ToMe do)"
STEPS_TOGETHER = (
    "draws the noise of its steps for the whole batch at once. Sample the MODEL of Seed Batch: with ComfyUI's own "
    "samplers every row then draws its own."
)


def why_not_cut(run: RunWatch, sampler: str) -> tuple[str, ...]:
    """List sentences on why a second sampler node, continuing the run's rows, wouldn't give what one run gives.

    Args:
        run: what was seen of it.
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
        (guidance.remembers, f"{guidance.remembers} goes by earlier steps, which a second run hasn't seen."),
        (coupling, f"{coupling} works on all rows of the batch together, and a second run has other rows."),
        (guidance.unknown, f"It could not be seen whether {guidance.unknown} takes each row and step by itself."),
        (
            run.remembers and not run.cache,
            f"{together(run.remembers)} goes by earlier steps, which a second run hasn't seen.",
        ),
        (
            run.may_remember and not run.cache,
            f"It could not be seen whether {together(run.may_remember)} needs earlier steps.",
        ),
        (run.draws, f"{RANDOM_INSIDE}, and a second run draws others."),
    ]
    return tuple(sentence for applies, sentence in reasons if applies)


def cut_needs(run: RunWatch) -> tuple[str, ...]:
    """List sentences on what a graph needs for its second sampler node to give what one run gives."""
    return (CONNECT_THE_MODEL,) if run.masked and run.shows_outside else ()


def why_not_alone(run: RunWatch, sampler: str) -> tuple[str, ...]:
    """List sentences on why a row isn't what a run of its seed alone gives; none for a run of one row."""
    if run.rows == 1:
        return ()
    guidance = run.guidance
    coupling = guidance.couples or guidance.counts
    reasons = [
        (run.noise.found and not run.by_row, f"{called(sampler)} {STEPS_TOGETHER}"),
        (traits_of(sampler).adaptive, f"{ADAPTIVE_NOTE}."),
        (coupling, f"{coupling} works on all rows of the batch together."),
        (guidance.unknown, f"It could not be seen whether {guidance.unknown} takes each row by itself."),
        (run.cache and run.cache_couples, f"{run.cache} decides for all rows of the batch together."),
        (
            run.holds_rows & run.remembers and not run.cache,
            f"{together(run.holds_rows & run.remembers)} keeps whole batches from one step to the next.",
        ),
        (run.draws, f"{RANDOM_INSIDE}, others than for a row alone."),
    ]
    return tuple(sentence for applies, sentence in reasons if applies)
