"""One core node on one model, and the stock runs that everything is compared with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from benchmarks.lib.exactness_models import Job, Parts
from benchmarks.lib.exactness_nodes import Use
from benchmarks.lib.exactness_registry import apply_node

ROWS = 3
BEFORE, AFTER = "before", "after"


class StockFails(Exception):
    """Without the pack the node doesn't run on this model either."""


@dataclass
class Trial:
    """One node on one model, with the stock runs that everything is compared with."""

    name: str
    use: Use
    parts: Parts
    _made: tuple[Any, Any] | None = field(default=None, init=False)

    @cached_property
    def job(self) -> Job:
        return self.parts.job.changed(**self.use.job(self.parts))

    def marks(self) -> set[str]:
        """What may be left on the shared model."""
        return self.parts.marks(**self.use.model(self.parts))

    def plain(self) -> Any:
        """The MODEL without the node."""
        model = self.parts.model(**self.use.model(self.parts))
        return apply_node(self.use.after, model, {}) if self.use.after else model

    def node(self, model: Any) -> Any:
        """What the node makes of a MODEL."""
        return apply_node(self.name, model, self.use.arguments(self.parts))

    def with_node(self) -> Any:
        """The MODEL with the node and nothing of the pack's."""
        plain = self.plain()
        if not self.use.lasting:
            return self.node(plain)
        if self._made is None or self._made[0] is not plain:
            self._made = plain, self.node(plain)
        return self._made[1]

    def patched(self, ours: Callable[[Any], Any], order: str) -> Any:
        """The MODEL with the node and one of the pack's; ``order`` says where the core node stands."""
        return ours(self.with_node()) if order == BEFORE else self.node(ours(self.plain()))

    @cached_property
    def batch(self) -> Tensor:
        """What the stock KSampler gives: three rows, or one where the node can't do more."""
        try:
            return self._stock(ROWS, self.parts.seed)
        except StockFails:
            return self._stock(1, self.parts.seed)

    @property
    def rows(self) -> int:
        """Of the batches."""
        return len(self.batch)

    def sample(self, model: Any) -> Tensor:
        """What it gives of a model with one of the pack's nodes."""
        return self.job.sample(model, self.parts.seed, self.rows)

    def alone(self, seed: int) -> Tensor:
        """What it gives for one seed, ``[1, …]``."""
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
        """By how much the node changes the stock image."""
        key = (self.use.model, self.use.job, self.use.after, self.rows)
        plain = self.parts.plain_images
        known = next((image for given, image in plain if given == key), None)
        if known is None:
            known = self.sample(self.plain())
            plain.append((key, known))
        return relative(self.batch, known)


def relative(result: Tensor, expected: Tensor) -> float:
    """‖result − expected‖ / ‖expected‖ of the worst row."""
    rows = (result - expected).flatten(1).norm(dim=1) / expected.flatten(1).norm(dim=1)
    return float(rows.max())
