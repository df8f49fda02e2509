"""Save Seed Images: finished rows as files that name their seed and score."""

import os
from types import SimpleNamespace

from comfy_api.latest import io, ui

from ..engine.core.names import can_be_made
from ..engine.core.texts import quoted
from ..engine.selection.naming import row_labels
from .errors import named_errors
from .types import Scores

NAMES = "Give a file name prefix without “..” and without a leading slash or drive: diffusion_probe/kept."
LONGER_BY = 110
"""Bytes by which the name of a file is longer than its prefix: seed, score, rank, number."""


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
    def validate_inputs(cls, filename_prefix: str | None) -> bool | str:
        """Say what no file can be called before anything is sampled; what comes over a link isn't known yet."""
        return isinstance(filename_prefix, str) and _why_no_prefix(filename_prefix) or True

    @classmethod
    def execute(cls, images, filename_prefix: str, scores=None, seeds: str = "") -> io.NodeOutput:
        with named_errors("Save Seed Images"):
            labels = row_labels(len(images), scores, seeds)
            if wrong := _why_no_prefix(filename_prefix):
                raise ValueError(wrong)
            saved = []
            for row, label in enumerate(labels):
                prefix = filename_prefix.replace("%batch_num%", str(row))
                saved += _save(images[row : row + 1], f"{prefix}_{label.file_name}", cls.hidden, label.metadata)
        return io.NodeOutput(images, ui=ui.SavedImages(saved))


def _why_no_prefix(prefix: str) -> str | None:
    """Why no file can be called that, None if one can."""
    if os.path.isabs(prefix) or os.path.normpath(prefix).split(os.sep)[0] == os.pardir:
        return f"{quoted(prefix)} lies outside ComfyUI's output folder. {NAMES}"
    if can_be_made(f"{prefix}_", LONGER_BY):
        return None
    return (
        f"{quoted(prefix)} can't be what the names of files begin with: it is too long, or holds characters that no "
        f"name has. {NAMES}"
    )


def _save(image, name: str, hidden, metadata: dict) -> list:
    """One image by ComfyUI's own helper, which writes whatever it finds beside the workflow."""
    given = hidden.extra_pnginfo if isinstance(hidden.extra_pnginfo, dict) else {}
    extra = {**{name: value for name, value in given.items() if _is_keyword(name)}, **metadata}
    node = SimpleNamespace(hidden=SimpleNamespace(prompt=hidden.prompt, extra_pnginfo=extra))
    try:
        return ui.ImageSaveHelper.save_images(image, name, io.FolderType.output, node)
    except Exception as refused:
        if type(refused) is not Exception:  # the helper refuses a place by a bare one, with the machine's paths in it
            raise
        raise ValueError(f"{quoted(name)} lies outside ComfyUI's output folder. {NAMES}") from refused


def _is_keyword(name: str) -> bool:
    """Whether a chunk of text in a PNG can have this name."""
    return 0 < len(name) < 80 and name.isascii() and name.isprintable()


NODES = [SaveSeedImages]
