"""What a training that was stopped leaves beside the file that it writes: a checkpoint, and the best network so far."""

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
    """What is left of a training, or will be.

    Args:
        out: the file that it writes.
        dataset: what it learns from: with one run more or fewer it is another training.
        recipe: how.
    """

    def __init__(self, out: Path, dataset: Dataset, recipe: Recipe):
        self.checkpoint = out.with_name(f".{out.stem}.checkpoint.safetensors")
        self.best = out.with_name(f".{out.stem}.best.safetensors")
        self.key = run_key(repr(recipe), default_sizes(recipe.kind), sorted(run.key for run in dataset.runs))

    def goes_on(self) -> bool:
        """Whether the same training was stopped here, so that it can be continued."""
        return self.is_there() and any(metadata.get(KEY) == self.key for metadata in metadata_of(self.best))

    def is_there(self) -> bool:
        """Whether some training was stopped here that can be continued."""
        return any(True for _ in metadata_of(self.checkpoint))

    def require_same(self) -> None:
        """Refuse to continue what another training left.

        Raises:
            ValueError: it had another recipe, or other data.
        """
        if self.is_there() and any(True for _ in metadata_of(self.best)) and not self.goes_on():
            raise ValueError(
                f"{self.checkpoint} is left by a training with other settings or other data that was stopped. "
                "Choose another name, or delete that file."
            )

    def keep(self, network: nn.Module, checks: dict[int, float]) -> None:
        """Write the best network so far, and what the checks gave, by step."""
        save_checkpoint(self.best, network.state_dict(), {KEY: self.key, CHECKS: json.dumps(checks)})

    def kept(self) -> tuple[dict[str, Tensor], dict[int, float]] | None:
        """What :meth:`keep` wrote, None unless the training goes on."""
        if not self.goes_on():
            return None
        found = load_checkpoint(self.best, lambda best: best[0].get(KEY) == self.key)
        if found is None:
            return None
        text, tensors = found
        return tensors, {int(step): rho for step, rho in read_json(text[CHECKS]).items()}

    def remove(self) -> None:
        """Nothing is left that a training could go on from."""
        remove_checkpoint(self.checkpoint)
        remove_checkpoint(self.best)


@contextmanager
def disk_errors(out: Path) -> Iterator[None]:
    """Say of an error of safetensors what it means."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(
            f"the training's files in {out.parent} can't be written or read ({error}). Make room or fix the folder, "
            "and start the same again: it goes on from its last checkpoint, if there was one."
        ) from error
