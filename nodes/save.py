"""Save Seed Images: save each row of a batch in a file that names its seed and score."""

import os
from types import SimpleNamespace

from comfy_api.latest import io, ui

from ..engine.core.names import can_be_made
from ..engine.core.texts import quoted
from ..engine.selection.naming import row_labels
from .errors import named_errors
from .sockets import Scores

NAMES = 'Give a file name prefix without ".." and without a leading slash or drive: diffusion_probe/kept.'
"""The advice for a refused prefix."""

LONGER_BY = 110
"""Bytes that seed, score, rank and number add to the prefix of a file name."""


class SaveSeedImages(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeSaveSeeds",
            display_name="Save Seed Images",
            category="diffusion probe",
            description="Saves each image of a batch with its seed, score and rank in the file name and, next to the "
            "workflow, in the file.",
            search_aliases=["save image", "seed in filename", "score metadata", "export", "diffusion probe"],
            is_output_node=True,
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            inputs=[
                io.Image.Input("images", tooltip="The finished images, in the order of the scores or seeds."),
                io.String.Input(
                    "filename_prefix",
                    default="diffusion_probe/kept",
                    tooltip="Start of the names, as in Save Image: folders, %date:yyyy-MM-dd%, %Node name.widget%. "
                    "Seed and score follow.",
                ),
                Scores.Input(
                    "scores",
                    optional=True,
                    tooltip='Their scores and seeds: "kept_scores" of Early Seed Filter or Seed Search.',
                ),
                io.String.Input(
                    "seeds",
                    optional=True,
                    force_input=True,
                    tooltip="Their seeds, if there are no scores: the seeds output of Seed Batch.",
                ),
            ],
            outputs=[io.Image.Output(display_name="images", tooltip="The same images.")],
        )

    @classmethod
    def validate_inputs(cls, filename_prefix: str | None) -> bool | str:
        """Refuse a prefix that no file can have before anything is sampled. One from a link is not known yet."""
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
    """Return why no file name can begin with a prefix, or None if one can."""
    if os.path.isabs(prefix) or os.path.normpath(prefix).split(os.sep)[0] == os.pardir:
        return f"{quoted(prefix)} lies outside ComfyUI's output folder. {NAMES}"
    if can_be_made(f"{prefix}_", LONGER_BY):
        return None
    return (
        f"{quoted(prefix)} can't be what the names of files begin with: it is too long, or holds characters that no "
        f"name has. {NAMES}"
    )


def _save(image, name: str, hidden, metadata: dict) -> list:
    """Save one image by ComfyUI's own helper, with texts beside the workflow, and return the saved results."""
    given = hidden.extra_pnginfo if isinstance(hidden.extra_pnginfo, dict) else {}
    extra = {**{name: value for name, value in given.items() if _is_keyword(name)}, **metadata}
    node = SimpleNamespace(hidden=SimpleNamespace(prompt=hidden.prompt, extra_pnginfo=extra))
    try:
        return ui.ImageSaveHelper.save_images(image, name, io.FolderType.output, node)
    except Exception as refused:
        if type(refused) is not Exception:  # the helper refuses a folder by a bare one, with the machine's paths in it
            raise
        raise ValueError(f"{quoted(name)} lies outside ComfyUI's output folder. {NAMES}") from refused


def _is_keyword(name: str) -> bool:
    """Return whether a text chunk of a PNG can have this name."""
    return 0 < len(name) < 80 and name.isascii() and name.isprintable()


NODES = [SaveSeedImages]
