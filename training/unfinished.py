"""What a training that was stopped leaves beside the file that it writes: a checkpoint, and the best network so far."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .dataset import Dataset, run_key
from .fit import Recipe, default_sizes

KEY, CHECKS = "training", "checks"


class Unfinished:
    """What is left of a training, or will be.

    Args:
        out: the file that it writes.
        dataset: what it learns from: with one run more or fewer it is another training.
        recipe: how.
    """

    def __init__(self, out: Path, dataset: Dataset, recipe: Recipe):
        self.checkpoint = checkpoint_path(out)
        self.best = out.with_name(f".{out.stem}.best.safetensors")
        self.key = run_key(repr(recipe), default_sizes(recipe.kind), sorted(run.key for run in dataset.runs))

    def goes_on(self) -> bool:
        """Whether the same training was stopped here, so that it can be continued."""
        return self.checkpoint.is_file() and self._metadata().get(KEY) == self.key

    def require_same(self) -> None:
        """Refuse to continue what another training left.

        Raises:
            ValueError: it had another recipe, or other data.
        """
        if self.checkpoint.is_file() and self.best.is_file() and not self.goes_on():
            raise ValueError(
                f"{self.checkpoint} is left by a training with other settings or other data that was stopped. "
                "Choose another name, or delete that file."
            )

    def keep(self, network: nn.Module, checks: dict[int, float]) -> None:
        """Write the best network so far, and what the checks gave, by step."""
        partial = self.best.with_suffix(".partial")
        tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
        save_file(tensors, partial, {KEY: self.key, CHECKS: json.dumps(checks)})
        partial.replace(self.best)

    def kept(self) -> tuple[dict[str, Tensor], dict[int, float]] | None:
        """What :meth:`keep` wrote, None unless the training goes on."""
        if not self.goes_on():
            return None
        with safe_open(str(self.best), "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        return tensors, {int(step): rho for step, rho in json.loads(self._metadata()[CHECKS]).items()}

    def remove(self) -> None:
        """Nothing is left that a training could go on from."""
        self.checkpoint.unlink(missing_ok=True)
        self.best.unlink(missing_ok=True)

    def _metadata(self) -> dict[str, str]:
        try:
            with safe_open(str(self.best), "pt") as file:
                return file.metadata() or {}
        except (SafetensorError, OSError):
            return {}


def checkpoint_path(out: Path) -> Path:
    """Where a training that writes to a file keeps what it needs to go on."""
    return out.with_name(f".{out.stem}.checkpoint.safetensors")


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
