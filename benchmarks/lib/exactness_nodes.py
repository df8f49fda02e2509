"""With which arguments each core node acts on the small models, or why it is left out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import node_helpers
import torch

from benchmarks.lib.exactness_models import HYPERNETWORK_FILE, LORA_FILE, SDXL, Parts
from benchmarks.lib.exactness_registry import inputs_of, patching_nodes
from benchmarks.lib.exactness_stand_ins import (
    PlainVae,
    SeenImage,
    qwen_control,
    supir,
    uso,
    wan_control,
    z_image_control,
)

Given = Callable[[Parts], Mapping[str, Any]]


def nothing(parts: Parts) -> Mapping[str, Any]:
    """No argument beside the widgets' defaults."""
    return {}


@dataclass(frozen=True)
class Use:
    """How a node is used so that it acts.

    Attributes:
        arguments: what differs from its widgets' defaults, beside the MODEL.
        job: what the KSampler is given instead, by field of :class:`Job`.
        model: what the small model has that it otherwise lacks, of :func:`small_model`.
        after: a node that comes before it, which makes the model one that it works on.
        home: another kind of model that it is for.
        lasting: whether its MODEL is made once for all runs, because it holds nothing but weights or a schedule that
            take long to make. Of other nodes each run has a MODEL of its own.
    """

    arguments: Given = nothing
    job: Given = nothing
    model: Given = nothing
    after: str | None = None
    home: str | None = None
    lasting: bool = False


def use(job: Given = nothing, after: str | None = None, **arguments: Any) -> Use:
    """The same arguments for every model."""
    return Use(lambda parts: arguments, job, after=after)


def control(stand_in: Callable[[int], Any], image: str = "image", **arguments: Any) -> Given:
    """Arguments of a node that takes a model patch, a VAE and a picture."""

    def given(parts: Parts) -> Mapping[str, Any]:
        samples = parts.job.latent["samples"]
        vae = PlainVae(samples.shape[1], samples.ndim == 5)
        return {"model_patch": parts.model_patch(stand_in), "vae": vae, image: parts.picture, **arguments}

    return given


def style(parts: Parts) -> Mapping[str, Any]:
    """A picture as an image encoder sees it, and what makes text of it."""
    return {"model_patch": parts.model_patch(uso), "clip_vision_output": SeenImage(parts.random(1, 21, 9, 16))}


def few_steps(parts: Parts) -> Mapping[str, Any]:
    """As many as are looked at, for the many nodes that do the same."""
    return {"steps": 4}


def quick_to_trace(parts: Parts) -> Mapping[str, Any]:
    """An SDXL of few layers."""
    blocks = {"num_res_blocks": [1], "channel_mult": [1], "transformer_depth": [1], "transformer_depth_output": [1, 1]}
    return blocks if parts.name == SDXL else {}


def without_guidance(parts: Parts) -> Mapping[str, Any]:
    """One row per call, for what can't take more."""
    return {"cfg": 1.0}


def inpainted(parts: Parts) -> Mapping[str, Any]:
    """A picture with a mask that rises from left to right."""
    height, width = parts.job.latent["samples"].shape[-2:]
    mask = torch.linspace(0, 1, 8 * width).expand(1, 8 * height, -1)
    return {"latent": parts.image_latent(noise_mask=mask)}


def with_reference(parts: Parts) -> Mapping[str, Any]:
    """A prompt with a reference picture, as Reference Latent gives it."""
    picture = parts.image_latent()["samples"]
    given = {"reference_latents": [picture]}
    return {
        name: node_helpers.conditioning_set_values(getattr(parts.job, name), given) for name in ("positive", "negative")
    }


WINDOWS = {"context_schedule": "standard_static", "fuse_method": "pyramid"}
LAYERS = {"double_layers": "0", "single_layers": "0", "start_percent": 0.0, "end_percent": 1.0}

USES: dict[str, Use] = {
    "APG": use(eta=0.5, norm_threshold=5.0, momentum=-0.5),
    "CFGNorm": use(),
    "CFGOverride": use(cfg=1.5, start_percent=0.2, end_percent=0.8),
    "CFGZeroStar": use(),
    "ContextWindowsManual": use(**WINDOWS, context_length=10, context_overlap=4, dim=2, freenoise=True),
    "DifferentialDiffusion": use(inpainted),
    "EasyCache": use(reuse_threshold=1.0),
    "Epsilon Scaling": use(scaling_factor=1.1),
    "ChromaRadianceOptions": use(nerf_tile_size=16),
    "FluxKVCache": Use(job=with_reference, home="FLUX.2 Klein"),
    "FreSca": use(freq_cutoff=3),
    "FreeU": use(),
    "FreeU_V2": use(),
    "HyperTile": use(tile_size=32, swap_size=3, max_depth=1),
    "HypernetworkLoader": use(hypernetwork_name=HYPERNETWORK_FILE),
    "LTXVContextWindows": use(**WINDOWS, context_length=73, context_overlap=32),
    "LatentApplyOperationCFG": use(operation=lambda latent, **_: latent.tanh()),
    "LazyCache": use(reuse_threshold=1.0),
    "LoraLoader": use(clip=None, lora_name=LORA_FILE),
    "LoraLoaderBypass": use(clip=None, lora_name=LORA_FILE),
    "LoraLoaderBypassModelOnly": use(lora_name=LORA_FILE),
    "LoraLoaderModelOnly": use(lora_name=LORA_FILE),
    "LoraModelLoader": Use(lambda parts: {"lora": parts.lora()}),
    "Mahiro": use(),
    "MiniMaxH3SigmaShift": use(),
    "ModelComputeDtype": Use(lambda parts: {"dtype": "fp32"}, model=lambda parts: {"dtype": torch.bfloat16}),
    "ModelMergeAdd": Use(lambda parts: {"model2": parts.second_model}, few_steps, lasting=True),
    "ModelMergeSubtract": Use(lambda parts: {"model2": parts.second_model, "multiplier": 0.3}, few_steps, lasting=True),
    "ModelNoiseScale": use(noise_scale=1.5, after="ModelSamplingSD3"),
    "ModelSamplingAuraFlow": use(),
    "ModelSamplingContinuousEDM": use(sampling="edm"),
    "ModelSamplingContinuousV": use(),
    "ModelSamplingDiscrete": use(sampling="v_prediction"),
    "ModelSamplingFlux": use(max_shift=2.0),
    "ModelSamplingLTXV": use(),
    "ModelSamplingSD3": use(),
    "ModelSamplingStableCascade": Use(lasting=True),
    "MultiGPU_WorkUnits": use(),
    "NAGuidance": use(),
    "PatchModelAddDownscale": use(),
    "PerpNeg": Use(lambda parts: {"empty_conditioning": parts.conditioning(9)}),
    "PerturbedAttentionGuidance": use(),
    "QwenImageDiffsynthControlnet": Use(control(qwen_control), home="Qwen-Image"),
    "RenormCFG": use(),
    "RescaleCFG": use(),
    "SUPIRApply": Use(control(supir, restore_cfg=1.0)),
    "ScaleROPE": use(scale_x=1.5, shift_y=3.0),
    "SelectModelDevice": use(),
    "SelfAttentionGuidance": use(),
    "SkipLayerGuidanceDiT": use(**LAYERS, rescaling_scale=0.5),
    "SkipLayerGuidanceDiTSimple": use(**LAYERS),
    "SkipLayerGuidanceSD3": use(layers="0", start_percent=0.0, end_percent=1.0),
    "TCFG": use(),
    "TemporalScoreRescaling": use(tsr_k=0.8),
    "TomePatchModel": use(ratio=0.5),
    "TorchCompileModel": Use(lambda parts: {"backend": "eager"}, model=quick_to_trace),
    "USOStyleReference": Use(style, without_guidance),
    "UNetCrossAttentionMultiply": use(q=1.5, v=1.3),
    "UNetSelfAttentionMultiply": use(q=1.5, v=1.3),
    "UNetTemporalAttentionMultiply": use(self_structural=1.3, cross_structural=0.7),
    "VideoLinearCFGGuidance": use(),
    "VideoTriangleCFGGuidance": use(),
    "WanContextWindowsManual": use(**WINDOWS, context_length=37, context_overlap=16),
    "WanUni3CControlnetApply": Use(control(wan_control, "render_video"), home="Wan 2.1"),
    "ZImageFunControlnet": Use(control(z_image_control), home="Z-Image"),
    "wanBlockSwap": use(),
}

LEFT_OUT = {
    "ARVideoI2V": "it acts through the sampler of autoregressive video models alone",
    "AnimaLLLiteApply": "it patches blocks that Anima alone has",
    "HiDreamO1PatchSeamSmoothing": "it blends the 32-pixel patches of a model that has pixels instead of latents",
    "LTXVReferenceAudio": "it needs LTX's audio VAE, and a model that reads reference audio",
    "TripoSplatSamplingPreview": "it shows previews of TripoSplat's splats, and needs its VAE",
    "WanInfiniteTalkToVideo": "it needs an audio encoder's output and a 40-layer patch of Wan",
}
"""Core nodes that are for other models than these, with the reason."""


def use_of(name: str) -> Use | None:
    """How a node is used; None if nobody has said."""
    return USES.get(name) or (merged(name) if name.startswith("ModelMerge") else None)


def merged(name: str) -> Use:
    """Half of a second model, in every part that the node knows."""
    halves = {key: 0.5 for key, kind in inputs_of(patching_nodes()[name]).items() if kind[0] == "FLOAT"}
    return Use(lambda parts: {**halves, "model2": parts.second_model}, few_steps, lasting=True)
