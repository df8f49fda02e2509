"""Attach Probe and Probe Score: capture features during a run and score them."""

from dataclasses import replace

from comfy_api.latest import io, ui

from ..engine.board.address import previews_off
from ..engine.board.history import HISTORY
from ..engine.board.pictures import looks
from ..engine.board.schema import BOARD_OUTPUT
from ..engine.board.values import score_board
from ..engine.capture.attach import attach_probe
from ..engine.capture.moments import one_moment
from ..engine.capture.read import score_with_previews
from ..engine.core.ranking import best_first
from ..engine.selection.report import score_report, score_text
from .errors import named_errors
from .sockets import (
    Scores,
    attached_model_input,
    moment_input,
    probed_latent_input,
    probed_model_input,
    scoring_probe_input,
    when_input,
)


class AttachProbe(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeAttachProbe",
            display_name="Attach Probe",
            category="diffusion probe/construction kit",
            description="Lets a probe capture features early in every sampler run of this model. "
            "The images stay exactly the same.",
            search_aliases=["early stopping", "attention capture", "probe select", "seed selection", "diffusion probe"],
            inputs=[
                attached_model_input("probe"),
                scoring_probe_input(),
                when_input("moments", "When to capture", several=', "20%, 40%"'),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model",
                    tooltip="Connect it to the sampler that runs the first steps and to Probe Score.",
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
            category="diffusion probe/construction kit",
            description="Scores every row of a half-sampled latent and shows the scores with a preview of each row.",
            search_aliases=["early score", "rank seeds", "best seed", "predict quality", "diffusion probe"],
            has_intermediate_output=True,
            inputs=[
                probed_latent_input(),
                probed_model_input(),
                moment_input(),
            ],
            outputs=[
                Scores.Output(
                    display_name="scores",
                    tooltip="One score per row, for Early Seed Filter, Prompt Gate or Save Seed Images.",
                ),
                io.Int.Output(
                    display_name="best_index",
                    tooltip="The row with the highest score, counted from 0, as Latent From Batch counts.",
                ),
            ],
        )

    @classmethod
    def execute(cls, latent, model, moment: str = "") -> io.NodeOutput:
        with named_errors("Probe Score"):
            name = one_moment(moment)
            scores, previews, features = score_with_previews(model, latent, name)
            best = best_first(scores.values)[0]
        scores = replace(scores, looks=tuple(looks(None if previews_off() else previews, features)))
        shown = {"text": [score_text(scores)], "diffusion_probe": [score_report(scores)]}
        shown[BOARD_OUTPUT] = [HISTORY.add(score_board(scores).values())]
        if previews is not None:
            shown |= ui.PreviewImage(previews).as_dict()
        return io.NodeOutput(scores, best, ui=shown)


NODES = [AttachProbe, ProbeScore]
