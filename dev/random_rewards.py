"""Small files of reward models with random weights in the official layouts, for tests without a download."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..engine.rewards.image_reward import ImageRewardNetwork, ScoreHead, Sizes
from ..engine.rewards.word_ids import ADDED_WORDS

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", *(
    f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"
))  # fmt: skip
SMALL = Sizes(
    patch=16, patches=4, vision_width=128, vision_layers=2,
    vocabulary=len(WORDS) + ADDED_WORDS, positions=40, text_width=64, text_layers=2,
)  # fmt: skip


def write_image_reward(folder: Path, seed: int = 0, name: str = "ImageReward.safetensors") -> None:
    """Write an ImageReward of 0.7 M parameters for images of 32 pixels, and a vocabulary of letters.

    Args:
        folder: ``reward_models``, in which a folder ``ImageReward`` is made.
        seed: of the weights.
        name: of the weights' file, ``.safetensors`` or ``.pt``.
    """
    tensors = random_tensors(ImageRewardNetwork(SMALL), seed)
    tensors["blip.vision_proj.weight"] = torch.zeros(8, SMALL.vision_width)
    tensors["blip.text_encoder.embeddings.position_ids"] = torch.arange(SMALL.positions)[None]
    where = folder / "ImageReward"
    where.mkdir(parents=True, exist_ok=True)
    write_tensors(tensors, where / name)
    (where / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")


def write_aesthetic_head(folder: Path, width: int, seed: int = 0) -> None:
    """Write the aesthetic predictor's head for embeddings of ``width``, as ``.pth`` in ``folder/LAION-aesthetic``."""
    where = folder / "LAION-aesthetic"
    where.mkdir(parents=True, exist_ok=True)
    write_tensors(random_tensors(ScoreHead(width), seed), where / "sac+logos+ava1-l14-linearMSE.pth")


def random_tensors(network: nn.Module, seed: int) -> dict[str, Tensor]:
    """Draw random tensors of unit gain for all names of a network; weights of norms are near 1."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, tensor in network.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator)
        if tensor.ndim > 1:
            tensors[name] = noise / tensor[0].numel() ** 0.5
        else:
            tensors[name] = 0.1 * noise + ("norm" in name.lower() and name.endswith("weight"))
    return tensors


def write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors, or in torch's own format for any other ending."""
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    else:
        torch.save(tensors, path)
