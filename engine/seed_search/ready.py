"""Checks of a search before anything is sampled, with errors in the units of the node's inputs."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..capture.prompt.sampled_text import sampled_text
from ..core.probe import Probe
from ..core.texts import plain
from ..runs.comfy_versions import empty_latent_for
from ..runs.latents import small_row
from .candidates import single_latent


def ready_to_score(
    model: Any,
    probe: Probe | None,
    judge: Probe | None,
    positive: list,
    latent: Mapping[str, Any],
    inputs: Sequence[str] = ("positive",),
) -> tuple[Probe | None, Probe | None]:
    """Return probe and judge for one search, with the text of its prompt where they have none of their own.

    Args:
        probe: scores candidates on their way; None: there is none.
        judge: scores the finished images; None: there is none.
        positive: the CONDITIONING that is connected to the input of that name; with several wordings, the first.
            All candidates are scored by its text.
        inputs: inputs of the node that runs now, which lead to that conditioning.
        latent: the LATENT that every candidate starts from.

    Raises:
        ValueError: a probe or judge that can't score; see :meth:`Probe.require_ready`.
    """
    samples = single_latent(dict(latent))
    shape = small_row(empty_latent_for(model, samples, dict(latent)).shape)
    prompt = sampled_text([entry for _, entry in positive], inputs)
    ready = {id(each): _ready(each, shape, prompt) for each in (probe, judge) if each is not None}
    return ready.get(id(probe)), ready.get(id(judge))


def _ready(probe: Probe, latent: Sequence[int], prompt: str) -> Probe:
    probe.require_ready(latent, prompt)
    return probe.for_one_search(prompt)


def require_rows(probe: Probe, candidates: int, name: str = "candidates") -> None:
    """Refuse fewer candidates than a probe has to score together.

    Args:
        name: of the input that says how many there are.

    Raises:
        ValueError: there are fewer.
    """
    if candidates < probe.least_rows:
        raise ValueError(
            f'"{name}" is {candidates}, and {plain(probe.label)} compares {probe.least_rows} or more images of a '
            f'prompt with each other. Raise "{name}", or connect a single reward in place of Combine Rewards.'
        )


def require_numbers(steps: int, candidates: int, survivors: int, budget: float, has_judge: bool) -> None:
    """Refuse numbers that leave nothing to search.

    Args:
        budget: in images; 0 for the default.
        has_judge: whether finished images are scored, so that there is a choice after the last step.

    Raises:
        ValueError: more survivors than candidates, a budget below the survivors' cost, or one step without a judge.
    """
    if survivors > candidates:
        raise ValueError(
            f'"survivors" is {survivors}, and there are {candidates} candidates to choose from. '
            'Lower "survivors", or give more seeds.'
        )
    if budget and round(budget * steps) < survivors * steps:
        raise ValueError(
            f'"budget" is {budget:g} images, and the survivors alone cost {survivors}. '
            f'Set "budget" to {survivors} or more, or to 0, or lower "survivors".'
        )
    if steps < 2 and not has_judge:
        raise ValueError(
            '"steps" is 1, so no candidate can be scored before it is finished. Set "steps" to 2 or more, or connect '
            '"judge", which scores finished images.'
        )
