"""Attach Probe and Probe Score: look into a run, and say what was seen."""

from dataclasses import replace

from comfy_api.latest import io, ui

from ..engine.board.address import previews_off
from ..engine.board.pictures import looks
from ..engine.board.schema import BOARD_OUTPUT
from ..engine.board.values import score_board
from ..engine.capture.attach import attach_probe
from ..engine.capture.moments import AUTO, one_moment
from ..engine.capture.read import score_with_previews
from ..engine.core.ranking import best_first
from ..engine.selection.report import score_report, score_text
from .errors import named_errors
from .types import Probe, Scores


class AttachProbe(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeAttachProbe",
            display_name="Attach Probe",
            category="diffusion probe/probes",
            description="Lets a probe look into every sampler run of this model, early in the run. "
            "The images stay exactly the same.",
            search_aliases=["early stopping", "attention capture", "probe select", "seed selection", "diffusion probe"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The model to look into: any that makes images for Preview Reward; FLUX, SDXL, SD1.5, "
                    "SD3.5, Qwen-Image and others for probes of attention (see the help). LoRA may come before.",
                ),
                Probe.Input("probe", tooltip="What looks: Attention Focus, Preview Reward or Load Probe."),
                io.String.Input(
                    "moments",
                    default=AUTO,
                    tooltip="When to look. 20% is the last step above 20 % of the noise range; step 5 is the fifth "
                    "model evaluation. Several: 20%, 40%. auto: 20 %, or the second step of runs of up to 8 steps.",
                ),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model", tooltip="Connect it to the sampler that is cut short and to Probe Score."
                )
            ],
        )

    @classmethod
    def execute(cls, model, probe, moments: str) -> io.NodeOutput:
        with named_errors("Attach Probe"):
            return io.NodeOutput(attach_probe(model, probe, moments))


class ProbeScore(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeScore",
            display_name="Probe Score",
            category="diffusion probe/probes",
            description="Scores every row of a half-sampled latent and shows the scores with a preview of each row.",
            search_aliases=["early score", "rank seeds", "best seed", "predict quality", "diffusion probe"],
            has_intermediate_output=True,
            inputs=[
                io.Latent.Input("latent", tooltip="The latent as it left a sampler that ran the probed model."),
                io.Model.Input("model", tooltip="The model from Attach Probe that sampled this latent."),
                io.String.Input(
                    "moment",
                    default="",
                    optional=True,
                    advanced=True,
                    placeholder="latest",
                    tooltip="Which of the moments of Attach Probe to score, for example 20% or step 5. "
                    "Empty: the latest one.",
                ),
            ],
            outputs=[
                Scores.Output(display_name="scores", tooltip="One score per row, for Early Seed Filter."),
                io.Int.Output(
                    display_name="best_index",
                    tooltip="The row with the highest score, counted from 0, as Latent From Batch takes it.",
                ),
            ],
        )

    @classmethod
    def execute(cls, latent, model, moment: str = "") -> io.NodeOutput:
        with named_errors("Probe Score"):
            name = one_moment(moment)
            scores, previews, features = score_with_previews(model, latent, name)
            best = best_first(scores.values)[0]
        scores = replace(scores, looks=looks(None if previews_off() else previews, features))
        shown = {"text": [score_text(scores)], "diffusion_probe": [score_report(scores)]}
        shown[BOARD_OUTPUT] = [score_board(scores).values()]
        if previews is not None:
            shown |= ui.PreviewImage(previews).as_dict()
        return io.NodeOutput(scores, best, ui=shown)


NODES = [AttachProbe, ProbeScore]
