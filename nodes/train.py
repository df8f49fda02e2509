"""Train Probe: from a recorded dataset to a probe."""

import logging
import time

import comfy.model_management
import comfy.utils
import torch
from comfy_api.latest import io, ui
from latent_preview import MAX_PREVIEW_RESOLUTION
from PIL import Image

from ..probe_models.probe_file import KINDS, load_probe
from ..training import report
from ..training.dataset.folder import Dataset
from ..training.fitting.probe_training import Progress, train_probe
from ..training.fitting.recipe import recipe_for
from ..training.fitting.unfinished import Unfinished
from .dataset_folder import dataset_input, dataset_path, dataset_state
from .device import device_input, free_device
from .errors import named_errors
from .probe_folder import new_probe_path
from .types import Probe

NEXT_FREE, REPLACE = IF_EXISTS = ("next free name", "replace")
CURVE_EVERY = 3.0
"""Seconds between two pictures of the loss."""


class TrainProbe(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeTrainProbe",
            display_name="Train Probe",
            category="diffusion probe/training",
            description="Trains a probe on what Record Probe Data wrote, and writes its file into "
            "models/diffusion_probes. Interrupting keeps the best so far; queueing again goes on.",
            search_aliases=["learn", "fit quality predictor", "trained probe", "diffusion probe"],
            is_output_node=True,
            inputs=[
                dataset_input(),
                io.Combo.Input(
                    "kind",
                    options=sorted(KINDS, key=lambda kind: kind != "joint"),
                    tooltip="joint: reads attention, activation and x0 prediction, the most accurate. attention cnn: "
                    "words and their attention maps. activation ranker: one activation.",
                ),
                io.String.Input(
                    "output_name",
                    default="my-probe",
                    tooltip="Name of the file in models/diffusion_probes.",
                ),
                io.Combo.Input(
                    "if_exists",
                    options=list(IF_EXISTS),
                    tooltip="next free name: my-probe-2 and so on. replace: the file of that name is overwritten.",
                ),
                io.String.Input(
                    "labels",
                    default="",
                    tooltip="What to learn, the score first: ImageReward, or ImageReward, PickScore for two heads. "
                    "Empty: all that was recorded, at most three.",
                ),
                io.Int.Input(
                    "steps",
                    default=2000,
                    min=1,
                    max=1_000_000,
                    tooltip="Of training, at most: it stops by itself when nothing gets better.",
                ),
                io.Int.Input("seed", default=0, min=0, max=2**31 - 1, tooltip="Of weights and batches.", advanced=True),
                device_input(),
            ],
            outputs=[
                Probe.Output(display_name="probe", tooltip="The trained probe, for Attach Probe or Evaluate Probe."),
                io.Image.Output(display_name="report", tooltip="Loss, accuracy, scatter, calibration and the table."),
                io.String.Output(display_name="text", tooltip="What came of it, in a few lines."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, dataset: str, **inputs) -> str:
        return dataset_state(dataset)

    @classmethod
    def execute(
        cls, dataset: str, kind: str, output_name: str, if_exists: str, labels: str, steps: int, seed: int, device: str
    ) -> io.NodeOutput:
        # ComfyUI runs nodes in inference mode, in which nothing can be learnt.
        with named_errors("Train Probe"), torch.inference_mode(False), torch.enable_grad():
            report.require_drawing()
            data = Dataset(dataset_path(dataset))
            recipe = recipe_for(data, kind, labels, steps=steps, seed=seed)
            out = new_probe_path(
                output_name,
                if_exists == REPLACE,
                lambda path: Unfinished(path, data, recipe).goes_on(),
                lambda path: Unfinished(path, data, recipe).is_there(),
            )
            live = LiveCurve(steps, out.name)
            with torch.random.fork_rng(devices=[]):
                command = f"Train Probe, dataset {dataset}"
                trained = train_probe(
                    data.folder, out, recipe, free_device(device), command, live.watch, anew=if_exists == REPLACE
                )
            live.end(trained.progress)
            figure = report.training_report(out.stem, trained, data)
            report.save(figure, out.with_suffix(".png"))
            text = report.training_text(out.name, trained, len(data.damaged))
            image, told = report.image(figure), {"file": out.name, "held_out": trained.card.held_out}
            shown = {"text": [text], "diffusion_probe": [told], **ui.PreviewImage(image).as_dict()}
            return io.NodeOutput(load_probe(out), image, text, ui=shown)


class LiveCurve:
    """Shows a training as it goes, in ComfyUI's progress bar and preview, and lets the user interrupt it.

    Args:
        steps: of the whole training.
        name: of its file.
    """

    def __init__(self, steps: int, name: str):
        self.bar, self.name = comfy.utils.ProgressBar(steps), name
        self.drawn = 0.0

    def watch(self, progress: Progress) -> None:
        """Called after every step."""
        step = len(progress.losses)
        try:
            comfy.model_management.throw_exception_if_processing_interrupted()
            self.bar.update_absolute(step, preview=self._preview(progress))
        except comfy.model_management.InterruptProcessingException:
            logging.warning(
                f"Train Probe: interrupted at step {step} of {self.name}. The best network so far is kept. "
                "Queue the same again to go on."
            )
            raise

    def end(self, progress: Progress) -> None:
        """All is done, whether it took all steps or fewer; the whole curve is what stays."""
        self.drawn = 0.0
        self.bar.update_absolute(self.bar.total, preview=self._preview(progress))

    def _preview(self, progress: Progress) -> tuple | None:
        if time.monotonic() - self.drawn < CURVE_EVERY:
            return None
        picture = Image.fromarray(report.curve(progress))
        self.drawn = time.monotonic()
        return ("JPEG", picture, MAX_PREVIEW_RESOLUTION)


NODES = [TrainProbe]
