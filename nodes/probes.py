"""The nodes that make probes: two without training, one from a file, and one that combines two."""

from comfy_api.latest import io

from ..engine.capture.fast_decoder import fast_decoder, is_fast
from ..engine.capture.graph_vae import vae_of_graph
from ..engine.capture.prompt.graph_texts import running_graph
from ..engine.core import look_prices
from ..probe_models.combining import combine_probes
from ..probe_models.focus import AttentionFocus
from ..probe_models.preview import PreviewReward
from ..probe_models.probe_file import load_probe
from .errors import named_errors
from .expand import run_again
from .inputs import KINDS
from .probe_folder import probe_names, probe_path
from .sockets import FileCombo, Probe, Reward, never_the_same, prompt_input

FAST, VAE = "fast", "VAE"
FOR_A_MODEL = "Connect it to Attach Probe, Prune in Flight or Seed Search."


class AttentionFocusProbe(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeAttentionFocus",
            display_name="Attention Focus",
            category="diffusion probe/probes",
            description="Makes a probe that reads signs of failure from cross-attention maps: words that are diffuse, "
            "collapsed, fragmented or overlapping. Needs no training, VAE or reward model.",
            search_aliases=["attention entropy", "cross attention", "training free", "diffusion probe"],
            inputs=[],
            outputs=[Probe.Output(display_name="probe", tooltip=FOR_A_MODEL)],
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
            category="diffusion probe",
            description="Makes a probe that decodes the image predicted at the moment and scores it with a reward "
            "model. Needs no training; costs one VAE decode and one reward per row.",
            search_aliases=["x0 prediction", "preview score", "reward model", "training free", "diffusion probe"],
            enable_expand=True,
            inputs=[
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="The VAE of the sampled model. Unconnected: that of the VAE Decode or checkpoint loader in "
                    "the graph.",
                ),
                Reward.Input(
                    "reward", tooltip="The reward model that scores the previews: Load Reward Model or Shapes Judge."
                ),
                prompt_input("What the images should show. Empty: the prompt that is sampled, where it can be read."),
                io.Combo.Input(
                    "decoder",
                    options=[FAST, VAE],
                    default=FAST,
                    optional=True,
                    advanced=True,
                    tooltip="Fast: the TAESD in models/vae_approx decodes previews, if there is one. Finished images "
                    "are decoded by the VAE.",
                ),
            ],
            outputs=[Probe.Output(display_name="probe", tooltip=FOR_A_MODEL)],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs) -> str:
        return "" if "vae" in inputs else vae_of_graph()[1]

    @classmethod
    def execute(cls, vae=None, reward=None, prompt: str = "", decoder: str = FAST) -> io.NodeOutput:
        with named_errors("Preview Reward"):
            if vae is None:
                return _with_vae_of_graph(cls)
            if prompt.strip():
                reward.require_readable(prompt)
            fast = fast_decoder if decoder == FAST and not is_fast(vae) else None
            channels = getattr(vae, "latent_channels", None)
            kind = look_prices.FAST if is_fast(vae) else look_prices.VAE
            return io.NodeOutput(PreviewReward(vae.decode, reward, prompt, channels, fast, kind))


def _with_vae_of_graph(node: type[io.ComfyNode]) -> io.NodeOutput:
    """Return the output of the same node with the VAE that the graph has for it.

    Raises:
        ValueError: there is none, or several; or one is connected that holds nothing.
    """
    running = running_graph()
    if running and "vae" in running[1][running[0]]["inputs"]:
        raise ValueError(f"the vae is missing: {KINDS[io.Vae.io_type].missing}.")
    link, _ = vae_of_graph()
    if link is None:
        raise ValueError(
            '"vae" is not connected, and the graph has none, or several, that it could be. Connect the VAE of the '
            "sampled model."
        )
    return run_again(node, vae=list(link))


class LoadProbe(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeLoadProbe",
            display_name="Load Probe",
            category="diffusion probe/probes",
            description="Loads a trained probe from models/diffusion_probes. A probe fits the model family and the "
            "layers it was trained for.",
            search_aliases=["trained probe", "learned probe", "quality predictor", "diffusion probe"],
            inputs=[
                FileCombo(
                    "name",
                    options=probe_names(),
                    tooltip="A safetensors file in models/diffusion_probes, written by Train Probe.",
                )
            ],
            outputs=[Probe.Output(display_name="probe", tooltip=FOR_A_MODEL)],
        )

    @classmethod
    def fingerprint_inputs(cls, name: str | None) -> str | float:
        if name is None:  # it comes over a link
            return never_the_same()
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
            description="Averages the scores of a trained probe and of Preview Reward, each weighted by its skill at "
            "that noise level. Ranks seeds better than either, and costs as much as both.",
            search_aliases=["ensemble", "average scores", "fusion", "diffusion probe"],
            inputs=[
                Probe.Input("trained", tooltip="A trained probe, from Load Probe."),
                Probe.Input(
                    "preview", tooltip="Preview Reward, with the reward model whose reward the trained probe predicts."
                ),
            ],
            outputs=[Probe.Output(display_name="probe", tooltip=FOR_A_MODEL)],
        )

    @classmethod
    def execute(cls, trained, preview) -> io.NodeOutput:
        with named_errors("Combine Probes"):
            return io.NodeOutput(combine_probes(trained, preview))


NODES = [AttentionFocusProbe, PreviewRewardProbe, LoadProbe, CombineProbes]
