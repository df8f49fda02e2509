"""The probes: two that need no training, and those from files."""

from comfy_api.latest import io

from ..probe_models.combining import combine_probes
from ..probe_models.focus import AttentionFocus
from ..probe_models.preview import PreviewReward
from ..probe_models.probe_file import load_probe
from .errors import named_errors, require_prompt
from .inputs import FileCombo
from .probe_folder import probe_names, probe_path
from .types import NEVER_THE_SAME, Probe, Reward


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


class LoadProbe(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeLoadProbe",
            display_name="Load Probe",
            category="diffusion probe/probes",
            description="Loads a trained probe from models/diffusion_probes. A probe fits the model family and the "
            "layers that it was trained for.",
            search_aliases=["trained probe", "learned probe", "quality predictor", "diffusion probe"],
            inputs=[
                FileCombo(
                    "name",
                    options=probe_names(),
                    tooltip="A file in models/diffusion_probes: safetensors, written by a training of this pack.",
                )
            ],
            outputs=[Probe.Output(display_name="probe", tooltip="For Attach Probe, Prune in Flight or Seed Search.")],
        )

    @classmethod
    def fingerprint_inputs(cls, name: str | None) -> str | float:
        if name is None:  # it comes over a link
            return NEVER_THE_SAME
        state = probe_path(name).stat()
        return f"{state.st_mtime_ns} {state.st_size}"

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        with named_errors("Load Probe"):
            return io.NodeOutput(load_probe(probe_path(name)))


class CombineProbes(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeCombineProbes",
            display_name="Combine Probes",
            category="diffusion probe/probes",
            description="Averages what a trained probe expects and what a reward model sees in the preview, each "
            "weighed by how well it predicts at that noise level. Better than either; costs what both cost.",
            search_aliases=["ensemble", "average scores", "fusion", "diffusion probe"],
            inputs=[
                Probe.Input("trained", tooltip="A trained probe, from Load Probe."),
                Probe.Input(
                    "preview", tooltip="Preview Reward with the reward model whose score the trained probe predicts."
                ),
            ],
            outputs=[Probe.Output(display_name="probe", tooltip="For Attach Probe or Seed Search.")],
        )

    @classmethod
    def execute(cls, trained, preview) -> io.NodeOutput:
        with named_errors("Combine Probes"):
            return io.NodeOutput(combine_probes(trained, preview))


NODES = [AttentionFocusProbe, PreviewRewardProbe, LoadProbe, CombineProbes]
