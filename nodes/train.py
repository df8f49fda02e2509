"""Train Probe: train a probe on a recorded dataset."""

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
from .dataset_folder import dataset_state, recorded_path
from .device import free_device
from .errors import named_errors
from .probe_folder import new_probe_path
from .sockets import Probe, dataset_input, device_input, number_seed_input

NEXT_FREE, REPLACE = IF_EXISTS = ("next free name", "replace")
CURVE_EVERY = 3.0
"""Seconds between two drawings of the loss."""


class TrainProbe(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeTrainProbe",
            display_name="Train Probe",
            category="diffusion probe/training",
            description="Trains a probe on a recorded dataset and writes it into models/diffusion_probes. "
            "If interrupted, the best network so far is kept, and queueing again continues.",
            search_aliases=["learn", "fit quality predictor", "trained probe", "diffusion probe"],
            is_output_node=True,
            inputs=[
                dataset_input(),
                io.Combo.Input(
                    "kind",
                    options=sorted(KINDS, key=lambda kind: kind != "joint"),
                    tooltip='"joint": all features, the best. "attention cnn": maps. "activation ranker": a block. '
                    "The last two: papers'.",
                ),
                io.String.Input(
                    "output_name",
                    default="my-probe",
                    tooltip="Name of the file in models/diffusion_probes.",
                ),
                io.Combo.Input(
                    "if_exists",
                    options=list(IF_EXISTS),
                    tooltip='"next free name": my-probe-2 and so on. "replace": overwrite the file of that name.',
                ),
                io.String.Input(
                    "labels",
                    default="",
                    tooltip='Rewards to predict, the score first, such as "ImageReward, PickScore". Empty: all '
                    "recorded, at most three.",
                ),
                io.Int.Input(
                    "steps",
                    default=2000,
                    min=1,
                    max=1_000_000,
                    tooltip="Training steps at most. Training stops earlier when nothing gets better.",
                ),
                number_seed_input("The seed for initial weights and batches."),
                device_input(),
            ],
            outputs=[
                Probe.Output(display_name="probe", tooltip="The trained probe, as Load Probe loads it later."),
                io.Image.Output(
                    display_name="report", tooltip="A picture with loss, accuracy, scatter, calibration and a table."
                ),
                io.String.Output(display_name="text", tooltip="The result in a few lines."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, dataset: str, **inputs) -> str | float:
        return dataset_state(dataset)

    @classmethod
    def execute(
        cls, dataset: str, kind: str, output_name: str, if_exists: str, labels: str, steps: int, seed: int, device: str
    ) -> io.NodeOutput:
        # ComfyUI runs nodes in inference mode, in which no gradients can be computed.
        with named_errors("Train Probe"), torch.inference_mode(False), torch.enable_grad():
            report.require_drawing()
            data = Dataset(recorded_path(dataset))
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
    """The loss curve of a running training in ComfyUI's progress bar and preview, where a user can interrupt it.

    Args:
        steps: number of training steps at most.
        name: file name of the probe.
    """

    def __init__(self, steps: int, name: str):
        self.bar, self.name = comfy.utils.ProgressBar(steps), name
        self.drawn = 0.0

    def watch(self, progress: Progress) -> None:
        """Show the progress after a training step.

        Raises:
            InterruptProcessingException: the user interrupted.
        """
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
        """Fill the progress bar and show the whole curve."""
        self.drawn = 0.0
        self.bar.update_absolute(self.bar.total, preview=self._preview(progress))

    def _preview(self, progress: Progress) -> tuple | None:
        if time.monotonic() - self.drawn < CURVE_EVERY:
            return None
        picture = Image.fromarray(report.curve(progress))
        self.drawn = time.monotonic()
        return ("JPEG", picture, MAX_PREVIEW_RESOLUTION)


NODES = [TrainProbe]
