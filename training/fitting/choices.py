"""What users choose of a training, as its recipe."""

import logging
from dataclasses import replace
from typing import Any

import torch

from ...probe_models.probe_card import MOST_HEADS
from ..dataset.folder import Dataset
from .fit import Recipe, default_sizes


def recipe_for(dataset: Dataset, kind: str, labels: str = "", **given: Any) -> Recipe:
    """A recipe for a dataset.

    Args:
        kind: a name in ``probe_file.KINDS``.
        labels: what to learn, names with commas between them, the score first; empty: what all of its runs have.
        given: fields of the recipe that are not as usual.

    Raises:
        ValueError: too many labels, sizes that the network doesn't have, or nothing to train.
    """
    names = tuple(name.strip() for name in labels.split(",") if name.strip())
    if len(names) > MOST_HEADS:
        raise ValueError(
            f"a probe has at most {MOST_HEADS} heads, and {len(names)} labels are named. Leave some out; the first is "
            "the score."
        )
    in_all = [label for label in dataset.runs[0].labels if all(label in run.labels for run in dataset.runs)]
    recipe = Recipe(kind, names or tuple(in_all or dataset.runs[0].labels)[:MOST_HEADS], **given)
    if min(recipe.steps, recipe.prompts) < 1 or recipe.rows < 2:
        raise ValueError(
            f"{recipe.steps} steps with {recipe.prompts} prompts and {recipe.rows} rows of each: give at least 1 of "
            "the first two and 2 rows, to learn which is better."
        )
    if recipe.matrix_rate and not hasattr(torch.optim, "Muon"):
        logging.warning(
            f"torch {torch.__version__} has no Muon, which 2.9 brought: AdamW trains the matrices as well, and needs "
            "more steps for it."
        )
        recipe = replace(recipe, matrix_rate=0.0)
    sizes = default_sizes(kind)
    if unknown := sorted(set(recipe.network) - set(sizes)):
        raise ValueError(f"the network of kind {kind} has no size {', '.join(unknown)}. It has {', '.join(sizes)}.")
    return recipe
