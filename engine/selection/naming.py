"""File names and metadata of finished rows: seed, score and rank."""

import math
from dataclasses import dataclass

from ..core.ranking import ranks
from ..core.scores import Scores, SeedName
from ..core.seed_list import seed_names
from .report import alone_note, continuation_note

MOST_IN_NAME = 71
"""Number of characters of a file name that the name of a seed may take."""


@dataclass(frozen=True)
class RowLabel:
    """Label of one finished row.

    Attributes:
        seed: the name of its noise.
        score, rank: None where only the seed is known; rank 1 is the best of the rows labelled together.
        scored_by: probe, moment and unit of the score.
        notes: further notes about the image, by keyword.
    """

    seed: SeedName
    score: float | None = None
    rank: int | None = None
    scored_by: str = ""
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def file_name(self) -> str:
        """File name such as ``seed_7_score_0.8125_rank_1``: letters, digits, ``_``, ``.``, ``+`` and ``-`` only.

        A long name of a seed is shortened to its first seed, the number of its variations, and the last of them.
        """
        seed = f"seed_{str(self.seed).replace(' ', '_')}"
        if len(seed) > MOST_IN_NAME:
            last, strength = self.seed.variations[-1]
            seed = f"seed_{self.seed.seed}_{len(self.seed.variations)}_variations_{last}_at_{strength:.3g}"
        return seed if self.score is None else f"{seed}_score_{self.score:.4g}_rank_{self.rank}"

    @property
    def metadata(self) -> dict[str, int | float | str]:
        """Text chunks by keyword."""
        chunks: dict[str, int | float | str] = {"seed": self.seed.seed if self.seed.is_seed else str(self.seed)}
        if self.score is not None:
            chunks |= {"score": self.score, "rank": self.rank, "scored_by": self.scored_by}
        return chunks | dict(self.notes)


def row_labels(rows: int, scores: Scores | None = None, seeds: str = "") -> list[RowLabel]:
    """Return a label for each of ``rows`` images.

    Args:
        rows: number of images.
        scores: their scores with their seeds, used instead of ``seeds``. A row whose score is NaN is
            labelled by its seed alone.
        seeds: their seeds as text, see :func:`report.seeds_text`.

    Raises:
        ValueError: neither scores nor seeds, another number of them than images, or text that isn't seeds.
    """
    if scores is None and not seeds.strip():
        raise ValueError(
            "neither scores nor seeds are connected. Connect the kept scores of these rows, or their seeds; images "
            "without either are saved by ComfyUI's own nodes."
        )
    if scores is None:
        labels = [RowLabel(seed) for seed in seed_names(seeds)]
    else:
        scored_by = f"{scores.probe} at {scores.moment}: {scores.label}"
        scored = [row for row, value in enumerate(scores.values) if not math.isnan(value)]
        by_row = dict(zip(scored, ranks([scores.values[row] for row in scored])))
        texts = {"cut_note": continuation_note(scores), "alone_note": alone_note(scores)}
        notes = tuple((keyword, note) for keyword, note in texts.items() if note)
        labels = [
            RowLabel(seed, scores.values[row], by_row[row], scored_by, notes)
            if row in by_row
            else RowLabel(seed, notes=notes)
            for row, seed in enumerate(scores.seeds)
        ]
    if len(labels) != rows:
        raise ValueError(
            f"there are {rows} images but {len(labels)} {'seeds' if scores is None else 'scores'}. "
            "Connect those of the rows that were finished, the kept scores."
        )
    return labels
