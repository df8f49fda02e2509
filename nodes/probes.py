"""The probes that need no training."""

from comfy_api.latest import io

from ..probe_models.focus import AttentionFocus
from ..probe_models.preview import PreviewReward
from .errors import named_errors, require_prompt
from .types import Probe, Reward


class AttentionFocusProbe(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeAttentionFocus",
            display_name="Attention Focus",
            category="diffusion probe/probes",
            description="A probe that reads failure signatures off the cross-attention maps: diffuse, collapsed, "
            "fragmented or overlapping words. Needs no training, no VAE and no reward model.",
            search_aliases=["attention entropy", "cross attention", "training free", "diffusion probe"],
            inputs=[],
            outputs=[Probe.Output(display_name="probe", tooltip="For Attach Probe.")],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(AttentionFocus())


class PreviewRewardProbe(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbePreviewReward",
            display_name="Preview Reward",
            category="diffusion probe/probes",
            description="A probe that decodes what the run would show if it stopped now, and lets a reward model judge "
            "it. Needs no training; costs a VAE decode and one judgement per row.",
            search_aliases=["x0 prediction", "preview score", "reward model", "training free", "diffusion probe"],
            inputs=[
                io.Vae.Input("vae", tooltip="The VAE of the sampled model."),
                Reward.Input("reward", tooltip="What judges the previews: Load Reward Model or Shapes Judge."),
                io.String.Input(
                    "prompt",
                    default="",
                    multiline=True,
                    dynamic_prompts=False,
                    tooltip="What the images should show: the text that the sampled prompt was encoded from.",
                ),
            ],
            outputs=[Probe.Output(display_name="probe", tooltip="For Attach Probe.")],
        )

    @classmethod
    def execute(cls, vae, reward, prompt: str) -> io.NodeOutput:
        with named_errors("Preview Reward"):
            require_prompt(reward, prompt)
            return io.NodeOutput(PreviewReward(vae.decode, reward, prompt))


NODES = [AttentionFocusProbe, PreviewRewardProbe]
