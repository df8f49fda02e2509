"""Reward models for real images: one node that loads them, one that scores finished images."""

from comfy_api.latest import io

from ..engine.core.ranking import best_first
from ..engine.rewards.catalog import REWARDS, load
from ..engine.selection.report import image_scores_report, image_scores_text
from .errors import judged, named_errors
from .types import Reward


class LoadRewardModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeLoadRewardModel",
            display_name="Load Reward Model",
            category="diffusion probe/rewards",
            description="Loads a model that says how well people would like an image, or how well it fits its prompt. "
            "Its files lie in models/reward_models; nothing is downloaded by itself.",
            search_aliases=["imagereward", "pickscore", "hpsv2", "clip score", "aesthetic", "diffusion probe"],
            inputs=[
                io.Combo.Input(
                    "name",
                    options=list(REWARDS),
                    tooltip="ImageReward, PickScore and HPSv2.1: what people prefer, given the prompt. CLIPScore: how "
                    "well the image fits the prompt. LAION aesthetic: looks alone. "
                    "If a file is missing, the error says which one goes where.",
                )
            ],
            outputs=[Reward.Output(display_name="reward", tooltip="For Preview Reward and Score Images.")],
        )

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        with named_errors("Load Reward Model"):
            return io.NodeOutput(load(name))


class ScoreImages(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeScoreImages",
            display_name="Score Images",
            category="diffusion probe/rewards",
            description="Scores finished images with a reward model, one number per image, and finds the best.",
            search_aliases=["rate images", "best of n", "image quality", "rank images", "diffusion probe"],
            has_intermediate_output=True,
            inputs=[
                io.Image.Input("images", tooltip="The images to score, one or many."),
                Reward.Input("reward", tooltip="What judges them, from Load Reward Model."),
                io.String.Input(
                    "prompt",
                    default="",
                    multiline=True,
                    dynamic_prompts=False,
                    tooltip="What the images should show. LAION aesthetic doesn't read it.",
                ),
            ],
            outputs=[
                io.Float.Output(
                    display_name="scores", is_output_list=True, tooltip="One number per image, higher is better."
                ),
                io.Int.Output(display_name="best_index", tooltip="The image with the highest score, counted from 0."),
                io.Image.Output(display_name="best_image", tooltip="That image."),
            ],
        )

    @classmethod
    def execute(cls, images, reward, prompt: str) -> io.NodeOutput:
        with named_errors("Score Images"):
            scores = judged(reward, images, prompt)
            best = best_first(scores)[0]
        shown = {
            "text": [image_scores_text(scores, reward.label)],
            "diffusion_probe": [image_scores_report(scores, reward.label)],
        }
        return io.NodeOutput(scores, best, images[best : best + 1], ui=shown)


NODES = [LoadRewardModel, ScoreImages]
