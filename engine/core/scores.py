"""Scores of a batch with everything that later nodes need to know of its rows."""

from dataclasses import dataclass, replace
from math import cos, hypot, pi, sin

PICTURE_PX = 512
"""Longest side of the pictures of rows that are kept while a search runs, and that a board shows enlarged."""


@dataclass(frozen=True)
class SeedName:
    """Name of a row's initial noise.

    Attributes:
        seed: that the noise is drawn from, and that the run's sampler gets.
        batch_index: None when a single run of ``seed`` starts from exactly this noise; else the row is number
            ``batch_index`` of a batch drawn from one generator seeded with ``seed``.
        variations: (another seed, strength above 0 and below 1) of each noise that is mixed into it, in this order.
            Each noise is drawn in the same way, by ``batch_index``.
    """

    seed: int
    batch_index: int | None = None
    variations: tuple[tuple[int, float], ...] = ()

    def __str__(self) -> str:
        row = "" if self.batch_index is None else f" row {self.batch_index}"
        return f"{self.seed}{row}" + "".join(f" variation {seed} at {strength}" for seed, strength in self.variations)

    @property
    def is_seed(self) -> bool:
        """Whether a stock run of ``seed`` alone starts from this noise."""
        return self.batch_index is None and not self.variations

    def weights(self) -> dict[int, float]:
        """Return the weight of each seed's noise in the mixture, its own seed first; their squares add up to 1.

        A variation with strength s turns the noise so far by the angle s · π / 2 towards the noise of its seed: it
        has weight cos(angle), and the other noise sin(angle). Independent noises mixed so have variance 1 again. A
        seed that comes more than once is one noise, whose weights are added and divided by the length of the whole.
        """
        weights = {self.seed: 1.0}
        for seed, strength in self.variations:
            again = seed in weights
            angle = strength * pi / 2
            weights = {each: cos(angle) * weight for each, weight in weights.items()}
            weights[seed] = weights.get(seed, 0.0) + sin(angle)
            if again:
                length = hypot(*weights.values())
                weights = {each: weight / length for each, weight in weights.items()}
        return weights


@dataclass(frozen=True)
class Look:
    """Pictures of a row at the moment of its score.

    Attributes:
        picture: a small preview as a data URL, None if there is none.
        heats: map of the attention to each word, (word, picture as a data URL); empty without attention.
    """

    picture: str | None = None
    heats: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Scores:
    """Scores of the rows of one LATENT, in row order.

    Attributes:
        values: one score per row, higher is better.
        seeds: the name of each row's noise, same length.
        probe: name of the probe.
        label: unit of the scores; thresholds of another label don't apply.
        moment: the moment at which the rows were captured, for example ``"20%"``.
        step: the model evaluation (from 1) that the moment fell on.
        skilled: whether the probe has measured skill (see ``engine.core.probe.Probe``).
        exact_continuation: whether a run cut after this moment and continued in another sampler
            node gives what one uninterrupted run gives. None when unknown.
        sampler: name of the sampler function that produced the rows.
        model_rows: model rows that the run spent on all rows together.
        dropped_at: for each row the moment after which it was not computed any more, None for rows
            that were not dropped. Empty: no row was.
        note: sentences for the user about rows that were dropped during the run.
        calibration: scores of the probe on images it was not trained on, sorted, at equal steps from
            the lowest to the highest quantile. Empty: the probe has none.
        looks: pictures of each row. Empty: not known.
        why_not_cut: sentences on why ``exact_continuation`` is False. Empty: not known, or it is True.
        cut_needs: sentences on what a second sampler node needs for an exact continuation.
        per_row: (name of a conditioning, what of it) that differed from row to row.
        why_not_alone: sentences on why a run of a row's seed alone gives something else. Empty: it gives the same.
        finished: whether the rows' runs went to the end of the noise, so that there is nothing to continue.
    """

    values: tuple[float, ...]
    seeds: tuple[SeedName, ...]
    probe: str
    label: str
    moment: str
    step: int
    skilled: bool
    exact_continuation: bool | None = None
    sampler: str = ""
    model_rows: int = 0
    dropped_at: tuple[str | None, ...] = ()
    note: str = ""
    calibration: tuple[float, ...] = ()
    looks: tuple[Look, ...] = ()
    why_not_cut: tuple[str, ...] = ()
    cut_needs: tuple[str, ...] = ()
    per_row: tuple[tuple[str, tuple[str, ...]], ...] = ()
    why_not_alone: tuple[str, ...] = ()
    finished: bool = False

    def __post_init__(self) -> None:
        if len(self.values) != len(self.seeds):
            raise ValueError(f"{len(self.values)} scores for {len(self.seeds)} rows")
        if self.dropped_at and len(self.dropped_at) != len(self.values):
            raise ValueError(f"{len(self.values)} scores, but dropped_at for {len(self.dropped_at)} rows")
        if list(self.calibration) != sorted(self.calibration):
            raise ValueError(f"the calibration of {self.probe} is not sorted, so it gives no percentiles")

    def __len__(self) -> int:
        return len(self.values)

    def subset(self, rows: list[int]) -> "Scores":
        """Return the scores of some rows, in the order of ``rows``."""
        return replace(
            self,
            values=tuple(self.values[row] for row in rows),
            seeds=tuple(self.seeds[row] for row in rows),
            dropped_at=tuple(self.dropped_at[row] for row in rows) if self.dropped_at else (),
            looks=tuple(self.looks[row] for row in rows) if self.looks else (),
        )
