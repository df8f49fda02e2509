"""What users choose of a training, as its recipe."""

from typing import Any

from ..probe_models.probe_card import MOST_HEADS
from .dataset import Dataset
from .fit import Recipe


def recipe_for(dataset: Dataset, kind: str, labels: str = "", **given: Any) -> Recipe:
    """A recipe for a dataset.

    Args:
        kind: a name in ``probe_file.KINDS``.
        labels: what to learn, names with commas between them, the score first; empty: what the dataset has.
        given: fields of the recipe that are not as usual.

    Raises:
        ValueError: too many labels.
    """
    names = tuple(name.strip() for name in labels.split(",") if name.strip())
    if len(names) > MOST_HEADS:
        raise ValueError(
            f"a probe has at most {MOST_HEADS} heads, and {len(names)} labels are named. Leave some out; the first is "
            "the score."
        )
    return Recipe(kind, names or tuple(dataset.runs[0].labels)[:MOST_HEADS], **given)
