"""Save Seed Images: finished rows as files that name their seed and score."""

from types import SimpleNamespace

from comfy_api.latest import io, ui

from ..search.naming import row_labels
from .errors import named_errors
from .types import Scores


class SaveSeedImages(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeSaveSeeds",
            display_name="Save Seed Images",
            category="diffusion probe/seeds",
            description="Saves each image of a batch under its seed, score and rank, and writes them into the file "
            "next to the workflow.",
            search_aliases=["save image", "seed in filename", "score metadata", "export", "diffusion probe"],
            is_output_node=True,
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            inputs=[
                io.Image.Input("images", tooltip="The finished images, in the order of the scores or seeds."),
                io.String.Input(
                    "filename_prefix",
                    default="diffusion_probe/kept",
                    tooltip="What the names begin with, as in Save Image: folders, %width%, %year%, %date:yyyy-MM-dd%, "
                    "%Node name.widget%. Seed, score, rank and a number follow.",
                ),
                Scores.Input(
                    "scores",
                    optional=True,
                    tooltip="Their scores, which know their seeds: kept_scores of Early Seed Filter or Seed Search.",
                ),
                io.String.Input(
                    "seeds",
                    optional=True,
                    force_input=True,
                    tooltip="Their seeds, where there are no scores: the seeds output of Seed Batch.",
                ),
            ],
            outputs=[io.Image.Output(display_name="images", tooltip="The same images.")],
        )

    @classmethod
    def execute(cls, images, filename_prefix: str, scores=None, seeds: str = "") -> io.NodeOutput:
        with named_errors("Save Seed Images"):
            labels = row_labels(len(images), scores, seeds)
        saved = []
        for row, label in enumerate(labels):
            prefix = filename_prefix.replace("%batch_num%", str(row))
            saved += _save(images[row : row + 1], f"{prefix}_{label.file_name}", cls.hidden, label.metadata)
        return io.NodeOutput(images, ui=ui.SavedImages(saved))


def _save(image, name: str, hidden, metadata: dict) -> list:
    """One image by ComfyUI's own helper, which writes whatever it finds beside the workflow."""
    extra = {**(hidden.extra_pnginfo or {}), **metadata}
    node = SimpleNamespace(hidden=SimpleNamespace(prompt=hidden.prompt, extra_pnginfo=extra))
    try:
        return ui.ImageSaveHelper.save_images(image, name, io.FolderType.output, node)
    except Exception as refused:
        if type(refused) is not Exception:  # the helper refuses a place by a bare one, with the machine's paths in it
            raise
        raise ValueError(
            f"Save Seed Images: “{name}” lies outside ComfyUI's output folder. "
            "Give a file name prefix without “..” and without a leading slash or drive: diffusion_probe/kept."
        ) from refused


NODES = [SaveSeedImages]
