"""What users choose of a training, as its recipe; and whether a training that stopped had chosen the same."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..probe_models.probe_card import MOST_HEADS
from .dataset import Dataset
from .fit import Recipe
from .probe_training import checkpoint_path


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


def goes_on(out: Path, dataset: Dataset, recipe: Recipe) -> bool:
    """Whether a training that was stopped while it wrote to ``out`` was the same, so that it can be continued."""
    checkpoint = checkpoint_path(out)
    if not checkpoint.is_file():
        return False
    try:
        with safe_open(str(checkpoint), "pt") as file:
            settings = json.loads((file.metadata() or {}).get("settings", "{}"))
    except SafetensorError:
        return False
    return (settings.get("recipe"), settings.get("runs")) == (repr(recipe), len(dataset.split()[0]))


def start_anew(out: Path, dataset: Dataset, recipe: Recipe) -> None:
    """Give up what another training left that was stopped while it wrote to ``out``."""
    if not goes_on(out, dataset, recipe):
        checkpoint_path(out).unlink(missing_ok=True)
