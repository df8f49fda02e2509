"""A small CLIP of transformers with random weights, and the file that a reward reads it from."""

import torch
from diffusion_probe.dev.random_rewards import write_tensors
from transformers import CLIPConfig, CLIPModel


def clip_model(seed: int, **text) -> CLIPModel:
    """transformers' own CLIP, small, with unit gain."""
    common = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 1, "intermediate_size": 128}
    common |= {"projection_dim": 64, "hidden_act": text.pop("hidden_act")}
    config = CLIPConfig(
        text_config=common | {"eos_token_id": 49407, "bos_token_id": 49406},
        vision_config=common | {"image_size": 28, "patch_size": 14},
        projection_dim=64,
    )
    torch.manual_seed(seed)
    model = CLIPModel(config).eval()
    for tensor in model.parameters():
        torch.nn.init.normal_(tensor, std=tensor[0].numel() ** -0.5) if tensor.ndim > 1 else None
    return model


def write_clip(model: CLIPModel, folder, name="model.safetensors", tensors=None):
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(tensors or dict(model.state_dict()), folder / name)
