"""A trained probe as one safetensors file, and as what scores."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .attention_cnn import AttentionCNN
from .features import ATTENTION, Features
from .probe_card import FORMAT, ProbeCard

KINDS = {"attention cnn": AttentionCNN}
METADATA = "diffusion_probe"
"""The key of the card in the file's metadata."""

PICKLED = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""What torch.save and pickle begin a file with."""


class LearnedProbe:
    """A trained network as a :class:`probe.Probe`, for models of one family and certain blocks."""

    def __init__(self, name: str, card: ProbeCard, network: nn.Module):
        self.name = name
        self.card = card
        self.network = network.float().eval().requires_grad_(False)
        self.label, self.skilled, self.calibration = card.label, card.skilled, card.calibration
        self.family, self.blocks = card.family, card.blocks
        self.search_skill = card.search_skill
        self.needs = network.needs

    @torch.no_grad()
    def score(self, rows: Sequence[Features]) -> Tensor:
        """Score rows captured at one moment, ``[rows]`` float32; see :class:`probe.Probe`.

        One by one, so that a row's score doesn't depend on which others it came with, and rows may
        differ in words and grid.
        """
        return torch.tensor([self._score(number, row) for number, row in enumerate(rows)], dtype=torch.float32)

    def _score(self, number: int, row: Features) -> float:
        if row.family != self.family:
            raise ValueError(f"{self.name} was trained for {self.family}, and row {number} is of {row.family}.")
        if ATTENTION in self.needs:
            self._check_attention(number, row)
        return float(self.network.rate(row, self.blocks)[0])

    def _check_attention(self, number: int, row: Features) -> None:
        if row.attention is None:
            raise ValueError(
                f"{self.name}: no attention was captured for row {number}. "
                "Connect this probe to Attach Probe before sampling."
            )
        missing = [block for block in self.blocks if block not in row.blocks]
        if missing:
            raise ValueError(
                f"{self.name} reads the attention of {', '.join(self.blocks)}, and row {number} has none of "
                f"{', '.join(missing)}. Use a probe that was trained for this model."
            )
        if row.attention.ndim != 4 or 0 in row.attention.shape or not row.attention.isfinite().all():
            raise ValueError(f"{self.name}: the attention of row {number} is empty or holds NaN or infinity.")


def new_network(card: ProbeCard) -> nn.Module:
    """The network that a card describes, untrained.

    Raises:
        ValueError: a kind that isn't known, or sizes that don't fit it.
    """
    if card.kind not in KINDS:
        raise ValueError(f"it is a probe of kind “{card.kind}”, and this version knows {', '.join(KINDS)}")
    return KINDS[card.kind](len(card.blocks), len(card.heads), **card.network)


def save_probe(path: Path, card: ProbeCard, network: nn.Module) -> None:
    """Write a probe; a file of that name is replaced in one go, or stays if writing fails.

    Args:
        path: ends with ``.safetensors``.
        card: describes the network.
        network: its tensors are written in the precision they have.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file(tensors, unfinished, {METADATA: card.to_json()})
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def load_probe(path: Path) -> LearnedProbe:
    """The probe in a file, named as the file is.

    Raises:
        ValueError: pickled, cut off, of something else, of a newer format, or damaged; the message
            says which, and what to do.
    """
    text, tensors = _read(path)
    if text is None:
        raise ValueError(
            f"{path.name} is a safetensors file, but not of a probe: a LoRA or a checkpoint, perhaps. "
            "Choose a file that a training of Diffusion Probe wrote."
        )
    try:
        card = ProbeCard.from_json(text)
        with torch.device("meta"):
            network = new_network(card)
        network.load_state_dict(tensors, assign=True)
        if not all(tensor.is_floating_point() and tensor.isfinite().all() for tensor in tensors.values()):
            raise ValueError("its weights hold NaN or infinity")
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path.name} can't be used: {_first_line(error)}. If a newer Diffusion Probe wrote it (this one writes "
            f"format {FORMAT}), update the pack; else it is damaged: copy or train it again."
        ) from error
    return LearnedProbe(path.stem, card, network)


def _read(path: Path) -> tuple[str | None, dict[str, Tensor]]:
    """The card's text, None where there is none, and then no tensors either."""
    try:
        with safe_open(str(path), "pt") as file:
            text = (file.metadata() or {}).get(METADATA)
            # Copies: Windows can't replace a mapped file, and arithmetic rounds by how tensors are aligned.
            names = () if text is None else file.keys()
            return text, {name: file.get_tensor(name).clone() for name in names}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path.name} {_why_unreadable(path, error)}") from error


def _why_unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"can't be opened: {_first_line(error)}. Check that the file is there and may be read."
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{":
        return "is cut off or damaged. Copy it again and compare the sizes, or train it again."
    if start.startswith(PICKLED):
        return (
            "is a pickled file, as torch.save writes them. That is refused, because such a file can run code. "
            "Choose a probe's .safetensors file."
        )
    return "is no safetensors file, or an empty one. Choose a file that a training of Diffusion Probe wrote."


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return (lines[1] if len(lines) > 1 else lines[0]).strip().rstrip(".")[:200]
