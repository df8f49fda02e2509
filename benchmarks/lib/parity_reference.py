"""Scores by the original packages, the other side of ``benchmarks.parity``, in an environment of their own.

Run by it as a script with those packages on ``PYTHONPATH``: ``python parity_reference.py NAME FOLDER SEED``. Leaves
the seeded random weights as a file of the official layout, and ``scores.json``: one row of scores per image.
"""

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

PROMPTS = (
    "a red circle to the left of a blue square",
    "An Astronaut riding a horse, highly-detailed (8k), photo by J. Doe's café; 50mm f/1.8!",
    "a painting of 猫 and naïve Ελλάδα — “quoted”, it’s & <b>bold</b> &amp; under_scored",
    "one two three four five six seven eight nine ten " * 12,
)

TIMESTEPS = (0, 250, 500, 999)
"""Timestep of the noise level for each prompt, for models that read it."""


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Draw weights under which every layer, word and pixel matters: unit gain, biases and norms that are not trivial.

    The last steps of CLIP's towers lean towards one direction, as trained ones do: two random directions have a cosine
    of 0, of which no share could be taken.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in sorted(model.state_dict().items()):
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("logit_scale"):
            tensor.fill_(4.6)
        elif tensor.ndim >= 2:
            sharp = 4 if ".query." in name or ".key." in name else 1  # or the words would hardly matter
            lean = 2 / tensor[0].numel() if "projection" in name or name == "visual.proj" else 0
            tensor.copy_(sharp * noise / tensor[0].numel() ** 0.5 + lean)
        elif name.endswith("weight") and ("norm" in name.lower() or "ln_" in name):
            tensor.copy_(0.1 * noise + 1)
        else:
            last = any(norm in name for norm in ("ln_post", "ln_final", "post_layernorm", "final_layer_norm"))
            tensor.copy_(0.1 * noise + 0.5 * last)


def image_reward(folder: Path, seed: int) -> Callable[[str, Path], float]:
    """Build ``image-reward``'s own ``ImageReward.score``."""
    model = image_reward_class(folder)(med_config=str(folder / "med_config.json")).eval()
    randomise(model, seed)
    torch.save(model.state_dict(), folder / "ImageReward.pt")
    return lambda prompt, path: model.score(prompt, str(path))


def image_reward_class(folder: Path) -> type[torch.nn.Module]:
    """Import the class, and write the configuration of its text encoder into the folder as ``med_config.json``.

    The package's ``__init__`` imports training code and datasets, and its CLIP score a package called ``clip``.
    ImageReward uses neither, so an empty package and module replace them. The tokenizer is read from the folder.
    """
    import importlib.util

    import transformers

    package = types.ModuleType("ImageReward")
    package.__path__ = list(importlib.util.find_spec("ImageReward").submodule_search_locations)
    sys.modules |= {"ImageReward": package, "clip": types.ModuleType("clip")}
    vocabulary = str(folder / "vocab.txt")
    transformers.BertTokenizer.from_pretrained = lambda *_, **__: transformers.BertTokenizer(vocabulary)
    from ImageReward.ImageReward import ImageReward

    config = {
        "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
        "hidden_act": "gelu", "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "vocab_size": 30524,
        "encoder_width": 768, "add_cross_attention": True, "pad_token_id": 0, "type_vocab_size": 2,
    }  # fmt: skip
    (folder / "med_config.json").write_text(json.dumps(config))
    return ImageReward


def pick_score(folder: Path, seed: int) -> Callable[[str, Path], float]:
    """Build transformers' ``CLIPModel`` as PickScore's authors use it, with two layers of the real width."""
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizerFast

    model = CLIPModel(vit_h(2, 2)).eval()
    randomise(model, seed)
    model.save_pretrained(folder)
    tokenizer, processor = CLIPTokenizerFast.from_pretrained(folder / "tokenizer"), CLIPImageProcessor()

    def score(prompt: str, path: Path) -> float:
        words = tokenizer([prompt], padding=True, truncation=True, max_length=77, return_tensors="pt")
        pixels = processor(images=Image.open(path), return_tensors="pt").pixel_values
        image, text = model.get_image_features(pixel_values=pixels), model.get_text_features(**words)
        image, text = image / image.norm(dim=-1, keepdim=True), text / text.norm(dim=-1, keepdim=True)
        return (model.logit_scale.exp() * (text * image).sum()).item()

    return score


def vit_h(text_layers: int, vision_layers: int) -> Any:
    """Return transformers' configuration of a CLIP ViT-H/14 with so many layers."""
    from transformers import CLIPConfig

    text = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": text_layers}
    vision = {"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 16, "patch_size": 14}
    common = {"hidden_act": "gelu", "projection_dim": 1024}
    text |= {"eos_token_id": 49407, "bos_token_id": 49406, "pad_token_id": 49407} | common
    vision |= {"num_hidden_layers": vision_layers} | common
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=1024)


SPM_FILES = ("sd-v1-5_step-aware_preference_model.bin", "sdxl_step-aware_preference_model.bin")


def step_aware_classes() -> tuple[type[torch.nn.Module], type[torch.nn.Module]]:
    """Import the network and the scoring model of SPO's authors, with empty modules for their logging and paths."""
    import transformers.models.clip.modeling_clip  # noqa: F401  (it looks for the real accelerate)

    for name in ("accelerate", "accelerate.logging", "spo", "spo.utils"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["accelerate.logging"].get_logger = lambda _: None
    sys.modules["spo.utils"].huggingface_cache_dir = None
    from spo_models.step_aware_preference_model import StepAwarePreferenceModel
    from spo_models.time_conditioned_clip import HFTimeConditionedCLIPModel

    return HFTimeConditionedCLIPModel, StepAwarePreferenceModel


def step_aware(folder: Path, seed: int) -> Callable[[str, Path], float]:
    """Build the Step-Aware Preference Model of SPO's authors with two layers of the real width."""
    from torchvision import transforms
    from torchvision.transforms.functional import to_tensor
    from transformers import CLIPImageProcessor, CLIPTokenizerFast

    network, scorer = step_aware_classes()
    model = scorer.__new__(scorer)  # its __init__ downloads PickScore
    torch.nn.Module.__init__(model)
    model.model = network(vit_h(2, 2)).eval()
    processor = CLIPImageProcessor()
    model.img_size = processor.size["shortest_edge"]
    model.center_crop = transforms.CenterCrop(size=model.img_size)
    model.normalization = transforms.Normalize(mean=processor.image_mean, std=processor.image_std)
    randomise(model, seed)
    for name in SPM_FILES:
        torch.save(model.state_dict(), folder / name)
    tokenizer = CLIPTokenizerFast.from_pretrained(folder / "tokenizer")

    def score(prompt: str, path: Path) -> float:
        words = tokenizer([prompt], padding="max_length", truncation=True, max_length=77, return_tensors="pt")
        pixels = to_tensor(Image.open(path).convert("RGB"))[None] * 2 - 1
        timestep = torch.tensor([TIMESTEPS[PROMPTS.index(prompt)]])
        return model.get_preference_score(pixels, words.input_ids, timestep).item()

    return score


def _open_clip(folder: Path, seed: int, name: str, file: str) -> tuple[torch.nn.Module, Callable, Callable]:
    """Build a named open_clip model with two layers per tower: its weights, preprocessing and tokenizer."""
    import open_clip
    from open_clip.model import CLIP

    config = open_clip.get_model_config(name)
    config["vision_cfg"]["layers"] = config["text_cfg"]["layers"] = 2
    model = CLIP(**config).eval()
    randomise(model, seed)
    if file.endswith(".pt"):
        torch.save({"state_dict": model.state_dict()}, folder / file)
    else:
        from safetensors.torch import save_file

        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / file)
    return model, open_clip.image_transform(224, is_train=False), open_clip.get_tokenizer(name)


def clip_score(folder: Path, seed: int) -> Callable[[str, Path], float]:
    """Build open_clip's ViT-L-14-quickgelu."""
    model, preprocess, tokenizer = _open_clip(folder, seed, "ViT-L-14-quickgelu", "model.safetensors")

    def score(prompt: str, path: Path) -> float:
        image = model.encode_image(preprocess(Image.open(path))[None], normalize=True)
        return 100 * max(0.0, (image @ model.encode_text(tokenizer([prompt]), normalize=True).T).item())

    return score


def aesthetic(folder: Path, seed: int) -> Callable[[str, Path], float]:
    """Build a stack of linear layers, as the predictor was published, on open_clip's normalised embedding."""
    model, preprocess, _ = _open_clip(folder, seed, "ViT-L-14-quickgelu", "model.safetensors")
    head = aesthetic_head()
    randomise(head, seed + 1)
    head["layers"][0].weight.mul_(768**0.5)  # its input has length 1
    head["layers"][-1].bias.fill_(5)  # scores of real images are around 5
    torch.save(head.state_dict(), folder / "sac+logos+ava1-l14-linearMSE.pth")
    return lambda _, path: head["layers"](
        model.encode_image(preprocess(Image.open(path))[None], normalize=True)
    ).item()  # fmt: skip


def aesthetic_head() -> torch.nn.ModuleDict:
    """Build the predictor's stack of linear layers."""
    widths = (768, 1024, None, 128, None, 64, None, 16, 1)
    layers, last = [], 768
    for width in widths[1:]:
        layers.append(torch.nn.Dropout() if width is None else torch.nn.Linear(last, width))
        last = width or last
    return torch.nn.ModuleDict({"layers": torch.nn.Sequential(*layers)}).eval()


def hps(folder: Path, seed: int) -> Callable[[str, Path], float]:
    """Build open_clip's ViT-H-14 on images that torchvision prepares by HPSv2's steps."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as F

    model, preprocess, tokenizer = _open_clip(folder, seed, "ViT-H-14", "HPS_v2.1_compressed.pt")
    normalise = preprocess.transforms[-1]

    def score(prompt: str, path: Path) -> float:
        pixels = F.to_tensor(Image.open(path).convert("RGB"))
        scale = 224 / max(pixels.shape[1:])
        height, width = (round(side * scale) for side in pixels.shape[1:])
        pixels = F.resize(pixels, [height, width], InterpolationMode.BICUBIC)
        left, top = (224 - width) // 2, (224 - height) // 2
        pixels = F.pad(pixels, [left, top, 224 - width - left, 224 - height - top])
        image = model.encode_image(normalise(pixels)[None], normalize=True)
        return (image @ model.encode_text(tokenizer([prompt]), normalize=True).T).item()

    return score


MODELS = {
    "ImageReward": image_reward,
    "PickScore": pick_score,
    "CLIPScore": clip_score,
    "LAION aesthetic": aesthetic,
    "HPSv2.1": hps,
    "SPM (SD1.5)": step_aware,
    "SPM (SDXL)": step_aware,
}


@torch.no_grad()
def main() -> None:
    """Score the images of a folder and write ``scores.json``."""
    name, folder, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    score = MODELS[name](folder, seed)
    images = sorted(folder.glob("image*.png"))
    scores = [[score(prompt, path) for prompt in PROMPTS] for path in images]
    (folder / "scores.json").write_text(json.dumps(scores))


if __name__ == "__main__":
    main()
