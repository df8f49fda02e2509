"""Catalog of the reward models: the files that each needs, and how it is built from them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import comfy.ops
import folder_paths
import torch

from ..core import look_prices
from ..core.texts import plain
from . import clip, image_reward, open_clip_models, step_aware
from .files import FOLDER, ClipVisionFile, RewardFile, fill, find, other_layout, read_tensors
from .pixels import centre_crop, centre_crop_rounding_down, unrounded_centre_crop, whole
from .reward_model import RewardModel
from .word_ids import BertWords, clean_clip_words, clip_words

OPERATIONS = comfy.ops.manual_cast
"""Layers that ComfyUI can leave in another precision or on another device than their input."""

CLIP_L = RewardFile(
    "CLIP-ViT-L-14",
    ("model.safetensors",),
    "1.71 GB",
    "https://huggingface.co/openai/clip-vit-large-patch14/resolve/main/model.safetensors",
    "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
)

CLIP_L_VISION = ClipVisionFile(
    *(CLIP_L.folder, CLIP_L.names, CLIP_L.size, CLIP_L.source, CLIP_L.sha256),
    shapes=(
        ("vision_model.embeddings.patch_embedding.weight", (1024, 3, 14, 14)),
        ("vision_model.embeddings.position_embedding.weight", (257, 1024)),
        ("visual_projection.weight", (768, 1024)),
    ),
    layers=24,
)


@dataclass(frozen=True)
class CatalogEntry:
    """Reward model that can be loaded.

    Attributes:
        files: the files that it needs.
        build: makes the reward model of its name and the files' paths, in the same order.
    """

    files: tuple[RewardFile, ...]
    build: Callable[[str, list[Path]], RewardModel]


def load(name: str) -> RewardModel:
    """Load a reward model from its files.

    Args:
        name: one of ``REWARDS``, the name of its file in ``models/reward_models``, or one of
            :func:`open_clip_models.names`.

    Raises:
        FileNotFoundError: files are not there; the message says which to put where.
        ValueError: a file is damaged or of another layout, there is no such reward model, or a package is missing.
    """
    if name.startswith(open_clip_models.PREFIX):
        return open_clip_models.load(name)
    reward = reward_called(name)
    if reward is None:
        raise ValueError(f'there is no reward model "{plain(name)}". There are: {", ".join(REWARDS)}.')
    try:
        paths = find(reward, REWARDS[reward].files)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error} Ready are: {', '.join(ready_rewards()) or 'none'}.") from None
    loaded = REWARDS[reward].build(reward, paths)
    loaded.tflop = look_prices.REWARDS.get(reward, look_prices.OTHER_REWARD)
    return loaded


def reward_called(name: str) -> str | None:
    """Return the reward model of a name or of its file's name, such as ``PickScore/model.safetensors``, or None."""
    if name in REWARDS or name.startswith(open_clip_models.PREFIX):
        return name
    return {file: reward for reward, file in file_names()}.get(name)


def file_names() -> Iterator[tuple[str, str]]:
    """Yield each reward model with each accepted name of its own file, as a path in ``models/reward_models``."""
    for reward, entry in REWARDS.items():
        for name in entry.files[0].names:
            yield reward, f"{entry.files[0].folder}/{name}"


def files_there() -> list[str]:
    """Return the names of the reward models' files that are in ``models/reward_models``."""
    return [file for _, file in file_names() if folder_paths.get_full_path(FOLDER, file)]


def ready_rewards() -> list[str]:
    """Return the names of the rewards whose files are all there."""
    ready = [name for name, entry in REWARDS.items() if all(file.path() for file in entry.files)]
    return ready + open_clip_models.names()


def reward_names() -> list[str]:
    """Return the names that can be chosen: all of the catalog, its files that are there, and open_clip's folders."""
    return [*REWARDS, *files_there(), *open_clip_models.names()]


def file_list(name: str) -> str:
    """Write for people, for every file of every reward, that it is there, or its path, size, link and hash.

    Args:
        name: the reward that is described first, or the name of its file.
    """
    first, lines = reward_called(name), []
    for each in (first, *(other for other in [*REWARDS, *open_clip_models.names()] if other != first)):
        files = REWARDS[each].files if each in REWARDS else ()
        absent = any(file.path() is None for file in files)
        lines.append(f"{each}: {'needs' if absent else 'ready'}")
        lines += [f"  {file.described()}" for file in files] or [f"  {open_clip_models.described(each)}"]
    return "\n".join(lines)


def _image_reward(name: str, paths: list[Path]) -> RewardModel:
    path, vocabulary = paths
    tensors = read_tensors(path)
    with _unfilled(path):
        network = image_reward.ImageRewardNetwork(image_reward.Sizes.of(tensors), OPERATIONS)
    fill(network, tensors, path, image_reward.UNUSED)
    words = BertWords(vocabulary, network.sizes.vocabulary)
    return RewardModel(name, network, network.sizes.image, centre_crop, words)


def _clip_score(name: str, paths: list[Path]) -> RewardModel:
    network = _similarity(paths[0], clip.ClipScore, clip.QUICK_GELU)
    return RewardModel(f"{name} (ViT-L/14)", network, network.image_size, centre_crop, clean_clip_words)


def _pick_score(name: str, paths: list[Path]) -> RewardModel:
    network = _similarity(paths[0], clip.PickScore, clip.GELU)
    return RewardModel(name, network, network.image_size, centre_crop_rounding_down, clip_words)


def _hps(name: str, paths: list[Path]) -> RewardModel:
    network = _similarity(paths[0], clip.ClipSimilarity, clip.GELU)
    return RewardModel(name, network, network.image_size, whole, clean_clip_words)


def _step_aware(name: str, paths: list[Path]) -> RewardModel:
    network = _similarity(paths[0], step_aware.StepAwareNetwork, clip.GELU)
    return step_aware.StepAwareReward(name, network, network.image_size, unrounded_centre_crop, clip_words)


def _similarity(path: Path, kind: type[clip.ClipSimilarity], activation: str) -> clip.ClipSimilarity:
    tensors = clip.towers(read_tensors(path))
    with _unfilled(path):
        network = kind(clip.vision_config(tensors, activation), clip.text_config(tensors, activation), OPERATIONS)
    fill(network, tensors, path)
    return network


def _aesthetic(name: str, paths: list[Path]) -> RewardModel:
    head, backbone = paths
    tensors = clip.towers(read_tensors(backbone))
    with _unfilled(backbone):
        network = clip.Aesthetic(clip.vision_config(tensors, clip.QUICK_GELU), OPERATIONS)
    vision = {key.removeprefix(clip.VISION): value for key, value in tensors.items() if key.startswith(clip.VISION)}
    fill(network.vision, vision, backbone)
    fill(network.head, read_tensors(head), head)
    reward = RewardModel(name, network, network.image_size, centre_crop, None)
    if backbone.parent.name != CLIP_L.folder:
        reward.notes = (f"{name} reads images by {backbone.name} of models/clip_vision.",)
    return reward


@contextmanager
def _unfilled(path: Path) -> Iterator[None]:
    """Build a network without memory for its tensors; an error means that the file lacks a tensor or its size."""
    try:
        with torch.device("meta"):
            yield
    except KeyError as error:
        raise other_layout(path, f"there is no tensor {error}") from error
    except (IndexError, TypeError, ValueError, ArithmeticError, RuntimeError, AssertionError) as error:
        raise other_layout(path, "its tensors have shapes that no such network has") from error


def _step_aware_file(name: str) -> RewardFile:
    return RewardFile(
        "SPM",
        (f"{name}.bin", f"{name}.safetensors"),
        "5.2 GB",
        f"https://huggingface.co/SPO-Diffusion-Models/Step-Aware_Preference_Models/resolve/main/{name}.bin",
    )


REWARDS = {
    "ImageReward": CatalogEntry(
        (
            RewardFile(
                "ImageReward",
                ("ImageReward.pt", "ImageReward.safetensors"),
                "1.79 GB",
                "https://huggingface.co/THUDM/ImageReward/resolve/main/ImageReward.pt",
            ),
            RewardFile(
                "ImageReward",
                ("vocab.txt",),
                "0.2 MB",
                "https://huggingface.co/google-bert/bert-base-uncased/resolve/main/vocab.txt",
                "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            ),
        ),
        _image_reward,
    ),
    "PickScore": CatalogEntry(
        (
            RewardFile(
                "PickScore",
                ("model.safetensors",),
                "3.94 GB",
                "https://huggingface.co/yuvalkirstain/PickScore_v1/resolve/main/model.safetensors",
            ),
        ),
        _pick_score,
    ),
    "HPSv2.1": CatalogEntry(
        (
            RewardFile(
                "HPSv2.1",
                ("HPS_v2.1_compressed.pt", "HPS_v2.1_compressed.safetensors"),
                "1.97 GB",
                "https://huggingface.co/xswu/HPSv2/resolve/main/HPS_v2.1_compressed.pt",
            ),
        ),
        _hps,
    ),
    "CLIPScore": CatalogEntry((CLIP_L,), _clip_score),
    "LAION aesthetic": CatalogEntry(
        (
            RewardFile(
                "LAION-aesthetic",
                ("sac+logos+ava1-l14-linearMSE.pth", "sac+logos+ava1-l14-linearMSE.safetensors"),
                "3.7 MB",
                "https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/main/"
                "sac%2Blogos%2Bava1-l14-linearMSE.pth",
            ),
            CLIP_L_VISION,
        ),
        _aesthetic,
    ),
    "SPM (SD1.5)": CatalogEntry(
        (_step_aware_file("sd-v1-5_step-aware_preference_model"),),
        _step_aware,
    ),
    "SPM (SDXL)": CatalogEntry(
        (_step_aware_file("sdxl_step-aware_preference_model"),),
        _step_aware,
    ),
}
"""Reward models by the name that a user chooses."""
