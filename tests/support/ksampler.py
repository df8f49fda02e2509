"""Inputs of a KSampler for searches in process, and what a workflow may have between model and sampler."""

from dataclasses import dataclass, field
from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.hooks
import comfy.ops
import torch
from diffusion_probe.dev.random_models import SDXL_FIXED, SMALL_SDXL, random_conditioning
from diffusion_probe.engine.seed_search.candidates import ksampler_candidate

import nodes as comfy_nodes


@dataclass
class Workflow:
    """What a KSampler gets."""

    model: Any
    latent: dict
    positive: list = field(default_factory=lambda: random_conditioning(1))
    negative: list = field(default_factory=lambda: random_conditioning(2))
    steps: int = 6
    cfg: float = 3.0
    sampler: str = "dpmpp_2m"
    scheduler: str = "normal"
    denoise: float = 1.0

    @torch.inference_mode()
    def alone(self, seed):
        settings = (self.steps, self.cfg, self.sampler, self.scheduler, self.positive, self.negative, self.latent)
        return comfy_nodes.KSampler().sample(self.model, seed, *settings, self.denoise)[0]["samples"]

    def candidate(self, seed, prompt=0):
        settings = (self.steps, self.cfg, self.sampler, self.scheduler, self.positive, self.negative, self.latent)
        return ksampler_candidate(seed, *settings, self.denoise, prompt)


def lora_hook(model, strength, *keyframes):
    """LoRA hooks of one layer, with (start percent, strength) keyframes."""
    weights = model.model_state_dict()
    key = next(k for k, w in weights.items() if w.ndim == 2 and k.startswith("diffusion_model.") and ".0." in k)
    change = torch.randn(weights[key].shape, generator=torch.manual_seed(1)) * 0.3
    hooks = comfy.hooks.create_hook_lora({key.removesuffix(".weight") + ".diff": change}, strength, 0.0)
    if keyframes:
        group = comfy.hooks.HookKeyframeGroup()
        for start, value in keyframes:
            group.add(comfy.hooks.HookKeyframe(strength=value, start_percent=start))
        hooks.set_keyframes_on_hooks(group)
    return hooks


def small_control_net():
    """Build a small ControlNet of SDXL's architecture, with random weights that change the image."""
    shape = {**SDXL_FIXED, **SMALL_SDXL, "hint_channels": 3}
    net = comfy.cldm.cldm.ControlNet(**shape, operations=comfy.ops.disable_weight_init, dtype=torch.float32)
    generator = torch.Generator().manual_seed(3)
    for parameter in net.parameters():
        width = parameter.shape[1:].numel() if parameter.ndim > 1 else 1
        parameter.data = torch.randn(parameter.shape, generator=generator) * width**-0.5
    cpu = torch.device("cpu")
    return comfy.controlnet.ControlNet(net, load_device=cpu)
