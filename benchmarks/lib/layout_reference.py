"""Layouts of the published reward files by the authors' own classes, the other side of ``benchmarks.reward_layouts``.

Run by it as a script with the original packages on ``PYTHONPATH``: ``python layout_reference.py NAME FOLDER``. Leaves
``layouts.json``: the shape of each tensor of each file, from classes in full size on the meta device.
"""

import json
import sys
from pathlib import Path

import parity_reference as reference  # its neighbour: this is run as a script
import torch

Layout = dict[str, list[int]]
"""Shape by the name of a tensor."""


def layout(model: torch.nn.Module) -> Layout:
    """Return the layout of a model's ``state_dict``."""
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def with_ranges(tensors: Layout) -> Layout:
    """Add the ranges that transformers still wrote into files when PickScore and CLIP ViT-L/14 were published."""
    towers = ("text_model.embeddings.", "vision_model.embeddings.")
    return tensors | {f"{tower}position_ids": [1, tensors[f"{tower}position_embedding.weight"][0]] for tower in towers}


def image_reward(folder: Path) -> dict[str, Layout]:
    """Return the layout of ImageReward's file."""
    model = reference.image_reward_class(folder)(med_config=str(folder / "med_config.json"))
    return {"ImageReward.pt": layout(model)}


def pick_score(folder: Path) -> dict[str, Layout]:
    """Return the layout of PickScore's file."""
    from transformers import CLIPModel

    return {"model.safetensors": with_ranges(layout(CLIPModel(reference.vit_h(24, 32))))}


def clip_l(folder: Path) -> dict[str, Layout]:
    """Return the layout of OpenAI's CLIP ViT-L/14 as transformers publishes it."""
    from transformers import CLIPConfig, CLIPModel

    vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24}
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12}
    config = CLIPConfig(text_config=text, vision_config=vision | {"patch_size": 14}, projection_dim=768)
    return {"model.safetensors": with_ranges(layout(CLIPModel(config)))}


def aesthetic(folder: Path) -> dict[str, Layout]:
    """Return the layouts of the aesthetic predictor's head and of its CLIP."""
    return {"sac+logos+ava1-l14-linearMSE.pth": layout(reference.aesthetic_head())} | clip_l(folder)


def hps(folder: Path) -> dict[str, Layout]:
    """Return the layout of HPSv2.1's file, which is that of open_clip's ViT-H-14."""
    import open_clip
    from open_clip.model import CLIP

    return {"HPS_v2.1_compressed.pt": layout(CLIP(**open_clip.get_model_config("ViT-H-14")))}


def step_aware(folder: Path) -> dict[str, Layout]:
    """Return the layouts of both Step-Aware Preference Models."""
    network, _ = reference.step_aware_classes()
    tensors = with_ranges(layout(network(reference.vit_h(24, 32))))
    return {file: {f"model.{name}": shape for name, shape in tensors.items()} for file in reference.SPM_FILES}


LAYOUTS = {
    "ImageReward": image_reward,
    "PickScore": pick_score,
    "CLIPScore": clip_l,
    "LAION aesthetic": aesthetic,
    "HPSv2.1": hps,
    "SPM (SD1.5)": step_aware,
    "SPM (SDXL)": step_aware,
}
"""Functions that return the layouts of the published files by their names; they may write into a folder."""


def main() -> None:
    """Write ``layouts.json``. Numbers that classes compute by ``linspace`` are computed on the CPU."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    linspace = torch.linspace
    torch.linspace = lambda *arguments, **options: linspace(*arguments, **options | {"device": "cpu"})
    with torch.device("meta"):
        layouts = LAYOUTS[name](folder)
    (folder / "layouts.json").write_text(json.dumps(layouts))


if __name__ == "__main__":
    main()
