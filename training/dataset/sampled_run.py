"""A run that a sampler has finished, with its features and rewards, as a dataset records it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ...engine.capture.read import finished_rows
from ...engine.core.reward import Reward, rewards_of
from ...engine.core.texts import plain, writable
from .labels import label_run, recorded_prompts
from .recorder import FinishedRun

MODEL_INPUTS = ("unet_name", "ckpt_name", "model_name")
"""Inputs of ComfyUI's loaders that name the file of a model."""


def sampled_run(
    model: Any,
    latent: dict[str, Any],
    images: Tensor,
    rewards: Sequence[Reward],
    prompt: str,
    folder: Path,
    workflow: Mapping[str, Any],
) -> FinishedRun:
    """Return the run that a LATENT comes from, with the rewards of its images.

    Args:
        model: the MODEL that captured all features of the run.
        latent: its finished LATENT.
        images: the same, decoded, ``[rows, H, W, 3]``.
        rewards: reward models of different labels; the first also scores the images by other prompts.
        prompt: text of the prompt.
        folder: the dataset, whose other prompts are among those.
        workflow: the nodes before the recording, by their ids, as in an API workflow.

    Raises:
        ValueError: the run is not finished or was not captured, two rewards have one label, or images can't be scored.
    """
    records, moments = finished_rows(model, latent)
    own: dict[str, list[float]] = {}
    for reward in rewards:
        if reward.label in own:
            raise ValueError(f"two rewards measure {plain(reward.label)}. Connect each reward once.")
        own[reward.label] = rewards_of(reward, images, prompt).tolist()
    words = len(moments[0][0].words)
    pool = recorded_prompts(folder)
    return FinishedRun(
        prompt=prompt,
        seeds=tuple(record.seed.seed for record in records),
        steps=records[0].steps,
        moments=moments,
        final=latent["samples"],
        labels=label_run(prompt, words, pool, own, lambda prompts: _scored(rewards[0], images, prompts)),
        model=_model_file(workflow) or type(model.model).__name__,
        settings={
            "noise": [str(record.seed) for record in records],
            "sampler": records[0].sampler,
            "workflow": workflow,
        },
    )


def _scored(reward: Reward, images: Tensor, prompts: Sequence[str]) -> dict[str, list[float]]:
    """Return the rewards of the images by prompt, without the prompts that the reward refuses."""
    scores: dict[str, list[float]] = {}
    for prompt in prompts if reward.reads_prompt else ():
        try:
            scores[prompt] = rewards_of(reward, images, prompt).tolist()
        except ValueError:
            continue
    return scores


def _model_file(workflow: Mapping[str, Any]) -> str:
    named = (node["inputs"].get(name) for node in workflow.values() for name in MODEL_INPUTS)
    return next((writable(name) for name in named if isinstance(name, str)), "")
