"""Trained probes, and the safetensors files that hold them."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..engine.core.features import ACTIVATION, ATTENTION, Features
from ..engine.core.files import replace_file
from ..engine.core.probe import Probe
from ..engine.core.skill import Skill
from ..engine.core.texts import plain, quoted
from .activation_ranker import ActivationRanker
from .attention_cnn import AttentionCNN
from .diffusion_probe import DiffusionProbeNetwork
from .inputs import Inputs, row_inputs, stacked
from .joint import JointProbe
from .network import ProbeNetwork
from .probe_card import FORMAT, ProbeCard
from .probe_select import ProbeSelectNetwork

KINDS: dict[str, type[ProbeNetwork]] = {
    "attention cnn": AttentionCNN,
    "activation ranker": ActivationRanker,
    "joint": JointProbe,
    "diffusion probe": DiffusionProbeNetwork,
    "probe select": ProbeSelectNetwork,
}
"""Networks by kind: three of this pack, and the two that papers describe, under the papers' names."""
TITLES = {
    "attention cnn": "word-map probe",
    "activation ranker": "activation probe",
    "joint": "joint probe",
    "diffusion probe": "Diffusion Probe as published",
    "probe select": "Probe-Select as published",
}
"""Names of the kinds for people: the first three are nobody's but this pack's."""

METADATA = "diffusion_probe"
"""The key of the card in the file's metadata."""

PROJECTION = "projection"
"""The name of the activation's projection among the tensors."""

PROMPTS = "prompts"
"""The name of the digests of the training prompts among the tensors."""

ROWS_AT_ONCE = 16
"""Largest number of rows in one forward pass of a network."""

PICKLED = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""First bytes of files that torch.save and pickle write."""


class LearnedProbe(Probe):
    """Probe with a trained network, for models of one family and certain blocks.

    Args:
        name: shown to the user.
        card: description of the probe.
        network: computes the scores.
        projection: of the activation, ``[kept channels, channels]``, where the network reads one.
        prompts: digests of the training prompts, by ``training.dataset.folder.prompt_digest``; None: not known.
    """

    def __init__(
        self,
        name: str,
        card: ProbeCard,
        network: ProbeNetwork,
        projection: Tensor | None = None,
        prompts: frozenset[int] | None = None,
    ):
        self.name = name
        self.card = card
        self.network = network.float().eval().requires_grad_(False)
        self.label, self.skilled, self.calibration = card.label, card.skilled, card.calibration
        self.family, self.blocks = card.family, card.blocks
        self.search_skill = Skill(**card.search_skill) if card.search_skill else None
        self.needs = network.needs
        self.projection = projection
        self.prompts = prompts

    @torch.no_grad()
    def score(self, rows: Sequence[Features]) -> Tensor:
        """Score rows captured at one moment, ``[rows]`` float32.

        Rows of as many words on the same grid go through the network together.
        """
        alike = defaultdict(list)
        for number, row in enumerate(rows):
            inputs = self._inputs(number, row)
            alike[inputs.shapes()].append((number, inputs))
        scores = torch.zeros(len(rows))
        for group in alike.values():
            for first in range(0, len(group), ROWS_AT_ONCE):
                numbers, parts = zip(*group[first : first + ROWS_AT_ONCE])
                scores[list(numbers)] = self._network_scores(numbers, stacked(parts))
        return scores

    def _inputs(self, number: int, row: Features) -> Inputs:
        if row.family != self.family:
            raise ValueError(f"{self.name} was trained for {self.family}, and row {number} is of {row.family}.")
        if ATTENTION in self.needs:
            self._check_attention(number, row)
        try:
            inputs = row_inputs(row, self.blocks, self.needs)
        except ValueError as error:
            raise ValueError(
                f"{self.name}: {error} for row {number}. Attach this probe to the MODEL before sampling."
            ) from None
        broken = [name for name, value in inputs.tensors() if not value.isfinite().all()]
        if broken:
            raise ValueError(f"{self.name}: {', '.join(broken)} of row {number} hold NaN or infinity.")
        return inputs

    def _network_scores(self, numbers: Sequence[int], inputs: Inputs) -> Tensor:
        try:
            return self.network(inputs)[:, 0]
        except RuntimeError as error:
            shapes = ", ".join(f"{name} {list(value.shape[1:])}" for name, value in inputs.tensors())
            raise ValueError(
                f"{self.name} can't read rows {list(numbers)} ({shapes}): {_first_line(error)}. It was trained for a "
                f"{self.family} of other sizes: use it with the model that it was trained for."
            ) from error

    def _check_attention(self, number: int, row: Features) -> None:
        if row.attention is None:
            raise ValueError(
                f"{self.name}: no attention was captured for row {number}. "
                "Attach this probe to the MODEL before sampling."
            )
        missing = [block for block in self.blocks if block not in row.blocks]
        if missing:
            raise ValueError(
                f"{self.name} reads the attention of {', '.join(self.blocks)}, and row {number} has none of "
                f"{', '.join(missing)}. Use a probe that was trained for this model."
            )
        if row.attention.ndim != 4 or 0 in row.attention.shape or not row.attention.isfinite().all():
            raise ValueError(f"{self.name}: the attention of row {number} is empty or holds NaN or infinity.")


def new_network(card: ProbeCard) -> ProbeNetwork:
    """Build the network that a card describes, untrained.

    Raises:
        ValueError: a kind that isn't known, or sizes that don't fit it.
    """
    if card.kind not in KINDS:
        raise ValueError(f"it is a probe of kind {quoted(card.kind)}, and this version knows {', '.join(KINDS)}")
    try:
        return KINDS[card.kind](len(card.blocks), len(card.heads), **card.network)
    except (TypeError, ZeroDivisionError, IndexError) as error:
        raise ValueError(f"no {card.kind} can be built from {plain(card.network)}") from error


def save_probe(
    path: Path,
    card: ProbeCard,
    network: nn.Module,
    projection: Tensor | None = None,
    prompts: Sequence[int] | None = None,
) -> None:
    """Write a probe; a file of that name is replaced in one go, or stays if writing fails.

    Args:
        path: ends with ``.safetensors``.
        card: describes the network.
        network: its tensors are written in the precision they have.
        projection: of the activation that it reads, if it reads one.
        prompts: see :class:`LearnedProbe`.
    """
    state = dict(network.state_dict())
    if projection is not None:
        state[PROJECTION] = projection
    if prompts is not None:
        state[PROMPTS] = torch.tensor(prompts, dtype=torch.int32)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    replace_file(path, lambda unfinished: save_file(tensors, unfinished, {METADATA: card.to_json()}))


def load_probe(path: Path) -> LearnedProbe:
    """Read the probe in a file, which gets the file's name.

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
        kept_projection, kept_prompts = tensors.pop(PROJECTION, None), tensors.pop(PROMPTS, None)
        with torch.device("meta"):
            network = new_network(card)
        network.load_state_dict(tensors, assign=True)
        if not all(tensor.is_floating_point() and tensor.float().isfinite().all() for tensor in tensors.values()):
            raise ValueError("its weights hold NaN or infinity")
        projection = _checked_projection(kept_projection, card, network)
        prompts = _checked_prompts(kept_prompts)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path.name} can't be used: {_first_line(error)}. If a newer Diffusion Probe wrote it (this one writes "
            f"format {FORMAT}), update the pack; if an older one did, or it is damaged, copy or train it again."
        ) from error
    return LearnedProbe(plain(path.stem, 255), card, network, projection, prompts)


def _checked_projection(projection: Tensor | None, card: ProbeCard, network: ProbeNetwork) -> Tensor | None:
    """Return a file's projection in full precision, None for a network that reads no activation."""
    if projection is None or ACTIVATION not in network.needs:
        return None
    kept = card.network.get("activation")
    if projection.ndim != 2 or projection.shape[0] != kept or 0 in projection.shape:
        raise ValueError(
            f"its projection has the shape {list(projection.shape)}, and its network reads {kept} channels of it"
        )
    if not projection.is_floating_point() or not projection.float().isfinite().all():
        raise ValueError("its projection holds NaN, infinity or no real numbers")
    return projection.float()


def _checked_prompts(prompts: Tensor | None) -> frozenset[int] | None:
    if prompts is None:
        return None
    if prompts.is_floating_point() or prompts.is_complex():
        raise ValueError("its training prompts are no whole numbers")
    return frozenset(prompts.flatten().tolist())


def _read(path: Path) -> tuple[str | None, dict[str, Tensor]]:
    """Return the text of a file's card and its tensors; None and no tensors for a file without a card."""
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
