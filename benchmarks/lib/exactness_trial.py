"""One core node on one model, and the stock runs that everything is compared with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from benchmarks.lib.exactness_models import Job, NodeInputs
from benchmarks.lib.exactness_nodes import Use
from benchmarks.lib.exactness_registry import apply_node

ROWS = 3
BEFORE, AFTER = "before", "after"


class StockFails(Exception):
    """Error of a stock run: without the pack the node doesn't run on this model either."""


@dataclass
class Trial:
    """One node on one model, with the stock runs that everything is compared with."""

    name: str
    use: Use
    inputs: NodeInputs
    _made: tuple[Any, Any] | None = field(default=None, init=False)

    @cached_property
    def job(self) -> Job:
        """Inputs of the KSampler with which the node acts."""
        return self.inputs.job.changed(**self.use.job(self.inputs))

    def marks(self) -> set[str]:
        """Return what a run may have left on the shared model."""
        return self.inputs.marks(**self.use.model(self.inputs))

    def plain(self) -> Any:
        """Return the MODEL without the node."""
        model = self.inputs.model(**self.use.model(self.inputs))
        return apply_node(self.use.after, model, {}) if self.use.after else model

    def node(self, model: Any) -> Any:
        """Apply the node to a MODEL."""
        return apply_node(self.name, model, self.use.arguments(self.inputs))

    def with_node(self) -> Any:
        """Return the MODEL with the node and nothing of the pack's."""
        plain = self.plain()
        if not self.use.lasting:
            return self.node(plain)
        if self._made is None or self._made[0] is not plain:
            self._made = plain, self.node(plain)
        return self._made[1]

    def patched(self, ours: Callable[[Any], Any], order: str) -> Any:
        """Return the MODEL with the node and one of the pack's; ``order`` says where the core node stands."""
        return ours(self.with_node()) if order == BEFORE else self.node(ours(self.plain()))

    @cached_property
    def batch(self) -> Tensor:
        """Latents of the stock KSampler: three rows, or one where the node can't do more."""
        try:
            return self._stock(ROWS, self.inputs.seed)
        except StockFails:
            return self._stock(1, self.inputs.seed)

    @property
    def rows(self) -> int:
        """Number of rows of the batches."""
        return len(self.batch)

    def sample(self, model: Any) -> Tensor:
        """Sample a model with one of the pack's nodes."""
        return self.job.sample(model, self.inputs.seed, self.rows)

    def alone(self, seed: int) -> Tensor:
        """Sample one seed with the stock KSampler, ``[1, …]``."""
        if seed not in self._alone:
            self._alone[seed] = self._stock(1, seed)
        return self._alone[seed]

    @cached_property
    def _alone(self) -> dict[int, Tensor]:
        return {}

    def _stock(self, rows: int, seed: int) -> Tensor:
        try:
            result = self.job.sample(self.with_node(), seed, rows)
        except Exception as error:
            raise StockFails(f"{type(error).__name__}: {error}") from error
        if not result.isfinite().all():
            raise StockFails("the image is not finite")
        return result

    def effect(self) -> float:
        """Return by how much the node changes the stock image."""
        key = (self.use.model, self.use.job, self.use.after, self.rows)
        plain = self.inputs.plain_images
        known = next((image for known_key, image in plain if known_key == key), None)
        if known is None:
            known = self.sample(self.plain())
            plain.append((key, known))
        return relative(self.batch, known)


def relative(result: Tensor, expected: Tensor) -> float:
    """Return ‖result − expected‖ / ‖expected‖ of the worst row."""
    rows = (result - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)
    return float(rows.max())
