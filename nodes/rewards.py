"""Load Reward Model, Combine Rewards and Score Images: rewards of finished images."""

from comfy_api.latest import io

from ..engine.core.ranking import best_first
from ..engine.core.reward import rewards_of
from ..engine.core.texts import plain
from ..engine.rewards.catalog import file_list, load, reward_called, reward_names
from ..engine.rewards.mean_reward import MeanReward
from ..engine.selection.report import image_scores_report, image_scores_text
from .errors import named_errors
from .sockets import FileCombo, Reward, prompt_input


class LoadRewardModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeLoadRewardModel",
            display_name="Load Reward Model",
            category="diffusion probe",
            description="Loads a model that scores how much people would like an image, or how well it fits its "
            "prompt. Its files belong into models/reward_models; nothing is downloaded.",
            has_intermediate_output=True,
            search_aliases=["imagereward", "pickscore", "hpsv2", "clip score", "aesthetic", "spo", "diffusion probe"],
            inputs=[
                FileCombo(
                    "name",
                    options=reward_names(),
                    tooltip="What is measured: human preference, fit to the prompt, or looks alone. SPM: previews of "
                    "SD1.5 and SDXL. See the help.",
                )
            ],
            outputs=[
                Reward.Output(
                    display_name="reward", tooltip="Connect it to Preview Reward, Score Images or Record Probe Data."
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, name: str | None) -> bool | str:
        """Accept the file of a reward model that isn't there yet: loading it says where it belongs."""
        if name is None or (isinstance(name, str) and reward_called(name)):  # None comes over a link
            return True
        return f'there is no reward model "{plain(name)}". Choose one of the list.'

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        with named_errors("Load Reward Model"):
            reward = load(name)
            return io.NodeOutput(reward, ui={"text": [file_list(name)]})


class CombineRewards(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeCombineRewards",
            display_name="Combine Rewards",
            category="diffusion probe/rewards",
            description="Averages several rewards, each divided by how much it differs between the seeds of a prompt. "
            "Finds images that most of them like; one reward alone often picks what the others do not.",
            search_aliases=["ensemble", "average rewards", "several judges", "mean reward", "diffusion probe"],
            inputs=[
                Reward.Input("reward", tooltip="The first reward: Load Reward Model or Shapes Judge."),
                Reward.Input("reward_2", tooltip="The second reward, another one than the first."),
                *(
                    Reward.Input(name, optional=True, tooltip="One more reward. All count the same.")
                    for name in ("reward_3", "reward_4")
                ),
            ],
            outputs=[
                Reward.Output(
                    display_name="reward", tooltip="Connect it to Preview Reward, Score Images or Record Probe Data."
                )
            ],
        )

    @classmethod
    def execute(cls, reward, reward_2, reward_3=None, reward_4=None) -> io.NodeOutput:
        with named_errors("Combine Rewards"):
            rewards = [each for each in (reward, reward_2, reward_3, reward_4) if each is not None]
            return io.NodeOutput(MeanReward(rewards))


class ScoreImages(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeScoreImages",
            display_name="Score Images",
            category="diffusion probe/rewards",
            description="Scores finished images with a reward model, one number per image, and outputs the best.",
            search_aliases=["rate images", "best of n", "image quality", "rank images", "diffusion probe"],
            has_intermediate_output=True,
            inputs=[
                io.Image.Input("images", tooltip="The images to score, one or many."),
                Reward.Input("reward", tooltip="The reward model: Load Reward Model or Shapes Judge."),
                prompt_input("What the images should show. LAION aesthetic does not read it."),
            ],
            outputs=[
                io.Float.Output(
                    display_name="scores", is_output_list=True, tooltip="One number per image, higher is better."
                ),
                io.Int.Output(display_name="best_index", tooltip="The image with the highest score, counted from 0."),
                io.Image.Output(display_name="best_image", tooltip="The image with the highest score."),
            ],
        )

    @classmethod
    def execute(cls, images, reward, prompt: str) -> io.NodeOutput:
        with named_errors("Score Images"):
            reward.require_readable(prompt)
            scores = rewards_of(reward, images, prompt).tolist()
            best = best_first(scores)[0]
        shown = {
            "text": [image_scores_text(scores, reward.label, reward.remarks(prompt))],
            "diffusion_probe": [image_scores_report(scores, reward.label)],
        }
        return io.NodeOutput(scores, best, images[best : best + 1], ui=shown)


NODES = [LoadRewardModel, CombineRewards, ScoreImages]
