"""Files of an unfinished training beside the probe file that it writes: a checkpoint, and the best network so far."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor, nn

from ...engine.core.json_text import read_json
from ..dataset.folder import Dataset, run_key
from .checkpoints import load_checkpoint, metadata_of, remove_checkpoint, save_checkpoint
from .recipe import Recipe, default_sizes

KEY, CHECKS = "training", "checks"


class Unfinished:
    """Checkpoint and best network of one training.

    Args:
        out: the probe file that it writes.
        dataset: of the training; with one run more or fewer it is another training.
        recipe: of the training.
    """

    def __init__(self, out: Path, dataset: Dataset, recipe: Recipe):
        self.checkpoint = out.with_name(f".{out.stem}.checkpoint.safetensors")
        self.best = out.with_name(f".{out.stem}.best.safetensors")
        self.key = run_key(repr(recipe), default_sizes(recipe.kind), sorted(run.key for run in dataset.runs))

    def goes_on(self) -> bool:
        """Return whether this training was stopped here, so that it can be continued."""
        return self.is_there() and any(metadata.get(KEY) == self.key for metadata in metadata_of(self.best))

    def is_there(self) -> bool:
        """Return whether this or another training was stopped here that can be continued."""
        return any(True for _ in metadata_of(self.checkpoint))

    def require_same(self) -> None:
        """Refuse to continue another training.

        Raises:
            ValueError: another training was stopped here, with another recipe or other data.
        """
        if self.is_there() and any(True for _ in metadata_of(self.best)) and not self.goes_on():
            raise ValueError(
                f"{self.checkpoint} is left by a training with other settings or other data that was stopped. "
                "Choose another name, or delete that file."
            )

    def keep(self, network: nn.Module, checks: dict[int, float]) -> None:
        """Write the best network so far, and the results of the checks, by step."""
        save_checkpoint(self.best, network.state_dict(), {KEY: self.key, CHECKS: json.dumps(checks)})

    def kept(self) -> tuple[dict[str, Tensor], dict[int, float]] | None:
        """Read what :meth:`keep` wrote; None unless the training goes on."""
        if not self.goes_on():
            return None
        checkpoint = load_checkpoint(self.best, lambda best: best[0].get(KEY) == self.key)
        if checkpoint is None:
            return None
        metadata, tensors = checkpoint
        return tensors, {int(step): rho for step, rho in read_json(metadata[CHECKS]).items()}

    def remove(self) -> None:
        """Delete the files, so that no training goes on from them."""
        remove_checkpoint(self.checkpoint)
        remove_checkpoint(self.best)


@contextmanager
def disk_errors(out: Path) -> Iterator[None]:
    """Turn an error of safetensors into one that says what it means for the training."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(
            f"the training's files in {out.parent} can't be written or read ({error}). Make room or fix the folder, "
            "and start the same again: it goes on from its last checkpoint, if there was one."
        ) from error
