"""CLIPScore by any model of open_clip's list, from a local folder; the package open-clip-torch is optional.

A folder in ``models/reward_models/open_clip`` is a model. Either it is a published one as it is, with its
``open_clip_config.json``; or it is named as one of open_clip's list, and its file of weights as the tag of its
training, by which the preprocessing is known: ``ViT-B-32/laion2b_s34b_b79k.safetensors``.
"""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import folder_paths
import torch
from PIL import Image
from torch import Tensor, nn

from ..core.texts import plain
from .files import FOLDER, with_size
from .pixels import eight_bit
from .reward_model import RewardModel

PREFIX = "open_clip: "
"""Start of the names of these rewards, before the name of the folder."""

FOLDERS = "open_clip"
CONFIG = "open_clip_config.json"
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")
INSTALL = 'python -m pip install "open-clip-torch>=3.0"'


def names() -> list[str]:
    """Return the names of the rewards whose folders have a file of weights."""
    found = {folder.name for root in _roots() if root.is_dir() for folder in root.iterdir() if _weights(folder)}
    return [PREFIX + name for name in sorted(found)]


def load(name: str) -> RewardModel:
    """Load the reward of a folder.

    Args:
        name: :data:`PREFIX` and the name of the folder.

    Raises:
        FileNotFoundError: there is no such folder, or no file of weights in it.
        ValueError: the package is missing; or the model or its tokenizer can't be made of what is in the folder.
    """
    folder = _folder(name.removeprefix(PREFIX))
    package = _package(name)
    config, preprocess = _config(package, folder)
    network = _network(package, folder, config, preprocess)
    words = OpenClipWords(_tokenizer(package, folder, config["text_cfg"]))
    prepared = package.transform.PreprocessCfg(**network.clip.visual.preprocess_cfg)
    view = _view(package.transform.image_transform_v2(prepared, is_train=False))
    return RewardModel(f"CLIPScore ({folder.name})", network, prepared.input_size[-1], view, words)


def described(name: str) -> str:
    """Return one line for the user: path and size of the file of weights."""
    path = _weights(_folder(name.removeprefix(PREFIX)))
    return with_size(path) if path else ""


class OpenClipScore(nn.Module):
    """CLIPScore of one of open_clip's models as a percentage: 100 · max(cos, 0)."""

    def __init__(self, clip: Any):
        super().__init__()
        self.clip: Any = clip

    def forward(self, pixels: Tensor, ids: Tensor) -> Tensor:
        """Return the scores ``[rows]`` of pixels ``[rows, 3, height, width]`` and word ids ``[rows, words]``."""
        images = self.clip.encode_image(pixels, normalize=True)
        return 100 * (images * self.clip.encode_text(ids, normalize=True)).sum(-1).clamp(min=0)


class OpenClipWords:
    """Tokenizer of one of open_clip's models, as :class:`Words`.

    Args:
        tokenizer: the package's.
    """

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        own = getattr(tokenizer, "tokenizer", None)  # of transformers
        ends = 2 if own is None else own.num_special_tokens_to_add()
        self.most = tokenizer.context_length - ends
        self._encode = tokenizer.encode if own is None else lambda text: own.encode(text, add_special_tokens=False)

    def __call__(self, prompts: list[str]) -> Tensor:
        """Return ids ``[prompts, words]`` int64."""
        return self.tokenizer(prompts)

    def count(self, prompt: str) -> int:
        """Return the number of words of a prompt, however long."""
        return len(self._encode(prompt))

    def knows(self, prompt: str) -> bool:
        """Return whether a prompt has words."""
        return self.count(prompt) > 0


def _roots() -> list[Path]:
    return [Path(root) / FOLDERS for root in folder_paths.get_folder_paths(FOLDER)]


def _weights(folder: Path) -> Path | None:
    """Return the file of weights of a folder, a safetensors before others; None if there is none."""
    if not folder.is_dir():
        return None
    files = [file for file in sorted(folder.iterdir()) if file.suffix in SUFFIXES]
    return min(files, key=lambda file: SUFFIXES.index(file.suffix), default=None)


def _folder(name: str) -> Path:
    known = {folder.name: folder for root in _roots() if root.is_dir() for folder in root.iterdir() if folder.is_dir()}
    folder = known.get(name)
    if folder is None or _weights(folder) is None:
        where = _roots()[0] / plain(name)
        raise FileNotFoundError(
            f"there are no weights in {where}. Put a model's file there, named as its tag, such as "
            "laion2b_s34b_b79k.safetensors, or all files of a published model."
        )
    return folder


def _package(name: str) -> Any:
    """Return the package, which is imported here only.

    Raises:
        ValueError: it is not installed.
    """
    try:
        return importlib.import_module("open_clip")
    except ImportError as error:
        raise ValueError(
            f"the reward {plain(name)} needs the Python package open-clip-torch ({plain(error)}). Install it with "
            f"ComfyUI's Python: {INSTALL}. The other rewards work without it."
        ) from error


def _config(package: Any, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configuration of a model, and that of its preprocessing.

    Raises:
        ValueError: the configuration can't be read, the list has no such model, or its preprocessing isn't known.
    """
    if (folder / CONFIG).is_file():
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            return {**config["model_cfg"], "text_cfg": {**config["model_cfg"]["text_cfg"]}}, config["preprocess_cfg"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{folder / CONFIG} is no configuration of open_clip. Get it again.") from error
    config = package.get_model_config(folder.name)
    if config is None:
        raise ValueError(
            f'open_clip has no model "{plain(folder.name)}", and there is no {CONFIG} in {folder}. Name the folder as '
            "one of open_clip's list, such as ViT-B-32, or put the file there."
        )
    tag = _weights(folder).stem
    tags = package.pretrained.list_pretrained_tags_by_model(folder.name)
    of_tags = {each: _preprocessing(package.pretrained.get_pretrained_cfg(folder.name, each)) for each in tags}
    known = of_tags.get(tag.lower().replace("-", "_"))
    if known is None and len({json.dumps(each, sort_keys=True) for each in of_tags.values()}) > 1:
        raise ValueError(
            f"the file {plain(tag)} of {folder.name} is named as none of its tags, which differ in how images are "
            f"prepared. Name it as one of: {', '.join(tags)}."
        )
    return config, known or next(iter(of_tags.values()), {})


def _preprocessing(tag: dict[str, Any]) -> dict[str, Any]:
    return {name: tag[name] for name in ("mean", "std", "interpolation", "resize_mode", "quick_gelu") if name in tag}


def _network(package: Any, folder: Path, config: dict[str, Any], preprocess: dict[str, Any]) -> OpenClipScore:
    """Build a model and fill it from its file, without any other file or the network of the internet.

    Raises:
        ValueError: the file is of another model, or the text model has a configuration of its own that is missing.
    """
    preprocess = dict(preprocess)
    quick_gelu = bool(preprocess.pop("quick_gelu", False))
    text = {**config["text_cfg"], "hf_model_pretrained": False}
    if "hf_model_name" in text:
        if not (folder / "config.json").is_file():
            raise ValueError(
                f"the text model of {folder.name} is {plain(text['hf_model_name'])}. Put its config.json and the files "
                f"of its tokenizer into {folder}."
            )
        text["hf_model_name"] = str(folder)
    name = f"local-dir:{folder}" if (folder / CONFIG).is_file() else folder.name
    path = _weights(folder)
    try:
        model = package.create_model(
            name, load_weights=False, pretrained_text=False, force_quick_gelu=quick_gelu,
            force_preprocess_cfg=preprocess, text_cfg=text,
        )  # fmt: skip
        package.load_checkpoint(model, str(path), weights_only=True)
    except Exception as error:  # of any package that makes a part of a model
        raise ValueError(
            f"{path} can't be read as {folder.name}: {plain(str(error).splitlines()[0] if str(error) else error)}. "
            "Put the published file there, a safetensors if there is one."
        ) from error
    return OpenClipScore(model.float())


def _tokenizer(package: Any, folder: Path, text: dict[str, Any]) -> Any:
    """Return the tokenizer of a model, from the package or the files in its folder.

    Raises:
        ValueError: its files are missing.
    """
    context = text.get("context_length", 77)
    source = text.get("hf_tokenizer_name", "")
    if not source and "siglip" not in folder.name.lower():
        return package.SimpleTokenizer(context_length=context, **text.get("tokenizer_kwargs", {}))
    if not any((folder / file).is_file() for file in TOKENIZER_FILES):
        raise ValueError(
            f"the tokenizer of {folder.name} is no part of the package. Put the files of {source or 'its tokenizer'} "
            f"({', '.join(TOKENIZER_FILES[:2])} and the like) into {folder}."
        )
    return package.tokenizer.HFTokenizer(
        str(folder),
        context_length=context,
        tokenizer_mode=text.get("tokenizer_mode"),
        **text.get("tokenizer_kwargs", {}),
    )


def _view(transform: Callable[[Image.Image], Tensor]) -> Callable[[Tensor, int], Tensor]:
    """Return the view of images by open_clip's preprocessing of one image."""
    return lambda images, _: torch.stack([transform(Image.fromarray(image)) for image in eight_bit(images)])
