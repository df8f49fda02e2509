"""Snapshot of one evaluation of a run, row by row."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import torch
from torch import Tensor

from ..core.features import NEEDS, Features
from ..core.prompt_words import Word
from .moments import Moment, percent_of_sigma
from .taps.families import block_names
from .taps.stacks import Block


@dataclass
class Snapshot:
    """One evaluation.

    Attributes:
        maps: by conditioning entry and block.
        words: of all entries.
        text: embeddings of all entries' tokens, ``[rows or 1, tokens, channels]``, where asked for.
        activation, latent: ``[rows, channels, height, width]``, where asked for.
        denoised: x0, ``[rows, channels, ...]`` in the model's own scale.
        why: as ``Features.why``.
        remarks: what a user should know of the maps.
    """

    step: int
    sigma: float
    maps: dict[UUID, dict[Block, Tensor]]
    words: tuple[Word, ...]
    text: Tensor | None
    activation: Tensor | None
    latent: Tensor | None
    denoised: Tensor
    why: dict[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def features(self, row: int, moment: Moment, family: str, model_sampling: Any, latent_out: Any) -> Features:
        """Return the features of one row.

        Args:
            row: which row of the batch.
            moment: as which of the moments.
            family: name of the model's.
            model_sampling: the model's sampling object.
            latent_out: the model's ``process_latent_out``.
        """
        entries = list(self.maps.values())
        blocks = [block for block in (entries[0] if entries else ()) if all(block in maps for maps in entries)]
        attention = None
        if blocks:
            attention = torch.stack([torch.cat([maps[block][row] for maps in entries]) for block in blocks])
        return Features(
            family=family,
            moment=str(moment),
            step=self.step,
            sigma=self.sigma,
            percent=percent_of_sigma(model_sampling, self.sigma),
            blocks=block_names(blocks),
            attention=attention,
            words=self.words,
            denoised=latent_out(self.denoised[row : row + 1])[0],
            latent=None if self.latent is None else self.latent[row],
            activation=None if self.activation is None else self.activation[row],
            text=None if self.text is None else self.text[row % len(self.text)],
            why=self.why,
        )

    def notes(self) -> list[str]:
        """Collect what a user should know of what was captured, as sentences: blocks that are left out, and why."""
        by_reason: dict[str, list[str]] = {}
        for name, why in self.why.items():
            if name not in NEEDS:
                by_reason.setdefault(why, []).append(name)
        left_out = [
            f"The attention of {', '.join(blocks)} is left out, because {why}." for why, blocks in by_reason.items()
        ]
        return [*self.remarks, *left_out]
