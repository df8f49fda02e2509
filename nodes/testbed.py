"""Load Testbed Model and Shapes Judge: the small models that come with the pack and their ground truth."""

from comfy_api.latest import io

from ..testbed.load import load_testbed
from ..testbed.scorer import GroundTruth
from .errors import named_errors
from .sockets import Reward


class LoadTestbedModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeLoadTestbedModel",
            display_name="Load Testbed Model",
            category="diffusion probe/testbed",
            description="Loads a FLUX or SDXL of a few megabytes that comes with the pack and draws coloured shapes. "
            "For trying out workflows in seconds, also without a GPU.",
            search_aliases=["shapes", "tiny flux", "tiny sdxl", "demo model", "test model", "diffusion probe"],
            inputs=[
                io.Combo.Input(
                    "name",
                    options=["flux", "sdxl"],
                    tooltip='The architecture: "flux" is built like FLUX.1-dev, "sdxl" like SDXL base.',
                )
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The diffusion model."),
                io.Clip.Output(display_name="clip", tooltip="Its text encoder, for the stock CLIP Text Encode."),
                io.Vae.Output(display_name="vae", tooltip="Its autoencoder."),
            ],
        )

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        with named_errors("Load Testbed Model"):
            return io.NodeOutput(*load_testbed(name))


class ShapesJudge(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeShapesJudge",
            display_name="Shapes Judge",
            category="diffusion probe/testbed",
            description="Scores images of the testbed models from 0 to 1 against their prompt: objects, colours, "
            "shapes, count, positions, extra objects. Knows only the testbed's prompts.",
            search_aliases=["ground truth", "shapes scorer", "reward model", "diffusion probe"],
            inputs=[],
            outputs=[
                Reward.Output(
                    display_name="reward", tooltip="Connect it to Preview Reward, Score Images or Record Probe Data."
                )
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(GroundTruth())


NODES = [LoadTestbedModel, ShapesJudge]
