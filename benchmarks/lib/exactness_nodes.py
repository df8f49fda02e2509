"""Arguments with which each core node acts on the small models, or the reason why it is left out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import node_helpers
import torch

from benchmarks.lib.exactness_models import HYPERNETWORK_FILE, LORA_FILE, SDXL, NodeInputs
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

Arguments = Callable[[NodeInputs], Mapping[str, Any]]


def nothing(inputs: NodeInputs) -> Mapping[str, Any]:
    """Return no argument beside the widgets' defaults."""
    return {}


@dataclass(frozen=True)
class Use:
    """The way in which a node is used so that it acts.

    Attributes:
        arguments: what differs from its widgets' defaults, beside the MODEL.
        job: inputs of the KSampler that differ, by field of :class:`Job`.
        model: what the small model has that it otherwise lacks, of :func:`small_model`.
        after: a node that comes before it, which makes the model one that it works on.
        home: another kind of model that it is for.
        lasting: whether its MODEL is made once for all runs, because it holds nothing but weights or a schedule that
            take long to make. Of other nodes each run has a MODEL of its own.
    """

    arguments: Arguments = nothing
    job: Arguments = nothing
    model: Arguments = nothing
    after: str | None = None
    home: str | None = None
    lasting: bool = False


def use(job: Arguments = nothing, after: str | None = None, **arguments: Any) -> Use:
    """Return a use with the same arguments for every model."""
    return Use(lambda inputs: arguments, job, after=after)


def control(stand_in: Callable[[int], Any], image: str = "image", **arguments: Any) -> Arguments:
    """Return arguments of a node that takes a model patch, a VAE and a picture."""

    def arguments_of(inputs: NodeInputs) -> Mapping[str, Any]:
        samples = inputs.job.latent["samples"]
        vae = PlainVae(samples.shape[1], samples.ndim == 5)
        return {"model_patch": inputs.model_patch(stand_in), "vae": vae, image: inputs.picture, **arguments}

    return arguments_of


def style(inputs: NodeInputs) -> Mapping[str, Any]:
    """Return the output of an image encoder, and the model patch that turns it into text tokens."""
    return {"model_patch": inputs.model_patch(uso), "clip_vision_output": SeenImage(inputs.random(1, 21, 9, 16))}


def few_steps(inputs: NodeInputs) -> Mapping[str, Any]:
    """Return few steps, for the many nodes that do the same."""
    return {"steps": 4}


def quick_to_trace(inputs: NodeInputs) -> Mapping[str, Any]:
    """Return the shape of an SDXL of few layers."""
    blocks = {"num_res_blocks": [1], "channel_mult": [1], "transformer_depth": [1], "transformer_depth_output": [1, 1]}
    return blocks if inputs.name == SDXL else {}


def without_guidance(inputs: NodeInputs) -> Mapping[str, Any]:
    """Return a CFG of 1, for nodes that can take one row per call only."""
    return {"cfg": 1.0}


def inpainted(inputs: NodeInputs) -> Mapping[str, Any]:
    """Return a picture with a mask that rises from left to right."""
    height, width = inputs.job.latent["samples"].shape[-2:]
    mask = torch.linspace(0, 1, 8 * width).expand(1, 8 * height, -1)
    return {"latent": inputs.image_latent(noise_mask=mask)}


def with_reference(inputs: NodeInputs) -> Mapping[str, Any]:
    """Return a prompt with a reference picture, as Reference Latent gives it."""
    picture = inputs.image_latent()["samples"]
    reference = {"reference_latents": [picture]}
    prompts = {"positive": inputs.job.positive, "negative": inputs.job.negative}
    return {name: node_helpers.conditioning_set_values(prompt, reference) for name, prompt in prompts.items()}


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
    "LoraModelLoader": Use(lambda inputs: {"lora": inputs.lora()}),
    "Mahiro": use(),
    "MiniMaxH3SigmaShift": use(),
    "ModelComputeDtype": Use(lambda inputs: {"dtype": "fp32"}, model=lambda inputs: {"dtype": torch.bfloat16}),
    "ModelMergeAdd": Use(lambda inputs: {"model2": inputs.second_model}, few_steps, lasting=True),
    "ModelMergeSubtract": Use(
        lambda inputs: {"model2": inputs.second_model, "multiplier": 0.3}, few_steps, lasting=True
    ),
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
    "PerpNeg": Use(lambda inputs: {"empty_conditioning": inputs.conditioning(9)}),
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
    "TorchCompileModel": Use(lambda inputs: {"backend": "eager"}, model=quick_to_trace),
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
    """Return how a node is used; None if it is not listed."""
    return USES.get(name) or (merged(name) if name.startswith("ModelMerge") else None)


def merged(name: str) -> Use:
    """Return a use that takes half of a second model, in every group of weights that the node knows."""
    halves = {key: 0.5 for key, kind in inputs_of(patching_nodes()[name]).items() if kind[0] == "FLOAT"}
    return Use(lambda inputs: {**halves, "model2": inputs.second_model}, few_steps, lasting=True)
