"""Preview Images and Scores From Values: rows of a probed LATENT scored by nodes of other packs."""

from typing import Any

from comfy_api.latest import io

from ..engine.capture.moments import one_moment
from ..engine.capture.read import captured, scores_from
from ..engine.core.numbers_in import numbers_in
from ..engine.selection.report import score_report, score_text
from ..probe_models.preview import decoded_previews, require_channels
from .errors import named_errors
from .sockets import Scores, moment_input, probed_latent_input, probed_model_input


class PreviewImages(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbePreviewImages",
            display_name="Preview Images",
            category="diffusion probe/construction kit",
            description="Decodes what each row of a half-sampled latent would show if it stopped at the probe's "
            "moment, as images for nodes of any pack.",
            search_aliases=["x0 prediction", "early image", "decode preview", "unfinished image", "diffusion probe"],
            inputs=[
                probed_latent_input(),
                probed_model_input(),
                io.Vae.Input("vae", tooltip="The VAE of the sampled model."),
                moment_input(),
            ],
            outputs=[io.Image.Output(display_name="images", tooltip="One image per row of the latent, in row order.")],
        )

    @classmethod
    def execute(cls, latent, model, vae, moment: str = "") -> io.NodeOutput:
        with named_errors("Preview Images"):
            rows = captured(model, latent, one_moment(moment))
            require_channels(getattr(vae, "latent_channels", None), len(rows[0].denoised))
            return io.NodeOutput(decoded_previews(vae.decode, rows))


class ScoresFromValues(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeScoresFromValues",
            display_name="Scores From Values",
            category="diffusion probe/construction kit",
            description="Turns numbers from any node, one per row of a probed latent, into scores for Early Seed "
            "Filter, Prompt Gate and Save Seed Images.",
            search_aliases=["custom score", "float list", "external score", "rank by numbers", "diffusion probe"],
            is_input_list=True,
            has_intermediate_output=True,
            inputs=[
                probed_latent_input(),
                probed_model_input(),
                io.MultiType.Input(
                    io.String.Input("values", default="", multiline=True, placeholder="0.7, 0.31, 0.52"),
                    types=[io.Float, io.Int, io.Boolean],
                    tooltip="One number per row, higher is better: a list, one by one, or a text of numbers.",
                ),
                io.String.Input("label", default="values", tooltip="What the numbers measure, for reports and files."),
                moment_input(),
            ],
            outputs=[
                Scores.Output(
                    display_name="scores",
                    tooltip="One score per row, for Early Seed Filter, Prompt Gate or Save Seed Images.",
                )
            ],
        )

    @classmethod
    def execute(cls, latent, model, values, label, moment=("",)) -> io.NodeOutput:
        with named_errors("Scores From Values"):
            latent, model, label, moment = (
                _single(name, given)
                for name, given in (("latent", latent), ("model", model), ("label", label), ("moment", moment))
            )
            scores = scores_from(model, latent, numbers_in(values), label, one_moment(moment))
        shown = {"text": [score_text(scores)], "diffusion_probe": [score_report(scores)]}
        return io.NodeOutput(scores, ui=shown)


def _single(name: str, given: Any) -> Any:
    """Return the one value of an input of a node that takes lists; what is no list is the value itself.

    Raises:
        ValueError: several values came in.
    """
    if not isinstance(given, list | tuple):
        return given
    if len(given) != 1:
        raise ValueError(f'"{name}" takes one value, and a list of {len(given)} came in. Connect one, or a batch.')
    return given[0]


NODES = [PreviewImages, ScoresFromValues]
