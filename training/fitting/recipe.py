"""Recipes of trainings: network, labels, batches and rates."""

import inspect
import logging
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch

from ...probe_models.probe_card import MOST_HEADS
from ...probe_models.probe_file import KINDS
from ..dataset.folder import Dataset
from .published import RECIPES

LATER = ("by_image", "percent", "average")
"""Fields of a recipe that earlier versions lacked."""


@dataclass(frozen=True, repr=False)
class Recipe:
    """Settings of a training.

    Attributes:
        kind: of the network, a name in ``probe_file.KINDS``.
        labels: units of the network's heads, at most three; the first is the score.
        steps: number of training steps.
        seed: of weights and batches.
        prompts: number of prompts in a batch.
        rows: number of rows of each prompt.
        rate: peak learning rate of AdamW.
        matrix_rate: peak learning rate of Muon, for matrices inside layers; 0: AdamW trains them as well.
        listwise: weight of the ranking loss within prompts; the squared error has weight 1.
        low_first: see ``Batches.draw``.
        blocks: numbers of the attention blocks that are read; None: all that were recorded.
        others: number of other prompts by which each batch's rows are scored as well. The joint probe also gets three
            times as many phrases of prompts; the word-map probe, which reads no more of the image, gets those of the
            rows' own prompts alone.
        use_words: False: all text counts as one word, as in captures without Encode Words.
        network: sizes of the network that are not its defaults.
        by_image: each row of a batch is drawn by itself, from all prompts and moments; ``low_first`` then goes by the
            label of a row, and a batch has ``prompts * rows`` of them.
        percent: noise level of the only moment that is learnt from, or of the recorded one next to it; None: all.
        average: decay of the moving average of the weights per step.
    """

    kind: str
    labels: tuple[str, ...]
    steps: int = 2000
    seed: int = 0
    prompts: int = 24
    rows: int = 4
    rate: float = 2e-3
    matrix_rate: float = 5e-3
    listwise: float = 1.0
    low_first: float = 0.0
    blocks: tuple[int, ...] | None = None
    others: int = 2
    use_words: bool = True
    network: dict[str, Any] = field(default_factory=dict)
    by_image: bool = False
    percent: float | None = None
    average: float = 0.998

    def __repr__(self) -> str:
        """Return the text by which a stopped training knows its recipe, without later fields at their defaults."""
        shown = [
            each.name for each in fields(self) if each.name not in LATER or getattr(self, each.name) != each.default
        ]
        return f"Recipe({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


def default_sizes(kind: str) -> dict[str, Any]:
    """Return the default sizes of a network. Probe files state them, as later versions may have others."""
    parameters = inspect.signature(KINDS[kind]).parameters.items()
    defaults = {name: each.default for name, each in parameters if each.default is not each.empty}
    return {name: value for name, value in defaults.items() if name != "heads"}


def recipe_for(dataset: Dataset, kind: str, labels: str = "", **settings: Any) -> Recipe:
    """Make a recipe for a dataset of what a user chose.

    Args:
        kind: a name in ``probe_file.KINDS``.
        labels: names of labels with commas between them, the score first; empty: those that all runs have.
        settings: fields of the recipe that are not its defaults, or for kinds in ``published.RECIPES`` not those.

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
    labelled = names or tuple(in_all or dataset.runs[0].labels)[:MOST_HEADS]
    recipe = Recipe(kind, labelled, **{**RECIPES.get(kind, {}), **settings})
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
