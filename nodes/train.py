"""Train Probe and Evaluate Probe: from a recorded dataset to a probe, and what one is worth on a dataset."""

import logging
import time

import comfy.model_management
import comfy.utils
import torch
from comfy_api.latest import io, ui
from latent_preview import MAX_PREVIEW_RESOLUTION
from PIL import Image

from ..probe_models.probe_file import KINDS, LearnedProbe, load_probe
from ..training import report
from ..training.choices import goes_on, recipe_for, start_anew
from ..training.dataset import RUNS, Dataset
from ..training.evaluation import evaluate_probe
from ..training.probe_training import Progress, checkpoint_path, train_probe
from .dataset_folder import dataset_path
from .errors import named_errors
from .probe_folder import new_probe_path
from .types import Probe

NEXT_FREE, REPLACE = IF_EXISTS = ("next free name", "replace")
DEVICES = ("auto", "cpu", "gpu")
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
                _dataset_input(),
                io.Combo.Input(
                    "kind",
                    options=sorted(KINDS, key=lambda kind: kind != "joint"),
                    tooltip="joint: reads attention, activation and x0 prediction, the most accurate. attention cnn: "
                    "attention maps alone. activation ranker: one activation alone.",
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
                _device_input(),
            ],
            outputs=[
                Probe.Output(display_name="probe", tooltip="The trained probe, for Attach Probe or Evaluate Probe."),
                io.Image.Output(display_name="report", tooltip="Loss, accuracy, scatter, calibration and the table."),
                io.String.Output(display_name="text", tooltip="What came of it, in a few lines."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, dataset: str, **inputs) -> str:
        return _state(dataset)

    @classmethod
    def execute(
        cls, dataset: str, kind: str, output_name: str, if_exists: str, labels: str, steps: int, seed: int, device: str
    ) -> io.NodeOutput:
        # ComfyUI runs nodes in inference mode, in which nothing can be learnt.
        with named_errors("Train Probe"), torch.inference_mode(False), torch.enable_grad():
            data = Dataset(dataset_path(dataset))
            recipe = recipe_for(data, kind, labels, steps=steps, seed=seed)
            out = new_probe_path(
                output_name,
                if_exists == REPLACE,
                lambda path: goes_on(path, data, recipe),
                lambda path: checkpoint_path(path).exists(),
            )
            if if_exists == REPLACE:
                start_anew(out, data, recipe)
            live = LiveCurve(steps, out.name)
            with torch.random.fork_rng(devices=[]):
                trained = train_probe(
                    data.folder, out, recipe, _device(device), f"Train Probe, dataset {dataset}", live.watch
                )
            live.end()
            figure = report.training_report(out.stem, trained, data)
            report.save(figure, out.with_suffix(".png"))
            text = report.training_text(out.name, trained.card, trained.progress, len(data.damaged))
            return _shown(load_probe(out), _image(figure), text, {"file": out.name, "held_out": trained.card.held_out})


class EvaluateProbe(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeEvaluateProbe",
            display_name="Evaluate Probe",
            category="diffusion probe/training",
            description="Measures how well a trained probe picks seeds, on recorded prompts that it was not trained "
            "on, beside chance, full images at equal cost and the truth.",
            search_aliases=["accuracy", "spearman", "validate probe", "diffusion probe"],
            is_output_node=True,
            inputs=[
                Probe.Input("probe", tooltip="A trained probe, from Train Probe or Load Probe."),
                _dataset_input(),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**31 - 1,
                    tooltip="Of random scores, ties and intervals.",
                    advanced=True,
                ),
                _device_input(),
            ],
            outputs=[
                io.String.Output(display_name="table", tooltip="The figures at every recorded moment, as Markdown."),
                io.Image.Output(display_name="report", tooltip="Accuracy, scatter, calibration and the table."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, dataset: str, **inputs) -> str:
        return _state(dataset)

    @classmethod
    def execute(cls, probe, dataset: str, seed: int, device: str) -> io.NodeOutput:
        with named_errors("Evaluate Probe"):
            if not isinstance(probe, LearnedProbe):
                raise ValueError(
                    f"“{probe.name}” was not trained, and a dataset holds only what trained probes read. "
                    "Connect Load Probe or Train Probe."
                )
            bar = comfy.utils.ProgressBar(1)

            def watch(done: int, rows: int) -> None:
                comfy.model_management.throw_exception_if_processing_interrupted()
                bar.update_absolute(done, rows)

            found = evaluate_probe(probe, dataset_path(dataset), seed, _device(device), watch)
            bar.update_absolute(bar.total)
            figure = report.evaluation_report(found)
            return _shown(found.text(), _image(figure), None, found.to_json())


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
                f"Train Probe: interrupted at step {step}. The best network so far goes into {self.name}. "
                "Queue the same again to go on."
            )
            raise

    def end(self) -> None:
        """All is done, whether it took all steps or fewer."""
        self.bar.update_absolute(self.bar.total)

    def _preview(self, progress: Progress) -> tuple | None:
        if time.monotonic() - self.drawn < CURVE_EVERY:
            return None
        picture = Image.fromarray(report.curve(progress))
        self.drawn = time.monotonic()
        return ("JPEG", picture, MAX_PREVIEW_RESOLUTION)


def _dataset_input() -> io.String.Input:
    return io.String.Input(
        "dataset", default="my-model", tooltip="Name of the folder in output/probe_data that Record Probe Data wrote."
    )


def _seed_input(tooltip: str) -> io.Int.Input:
    return io.Int.Input("seed", default=0, min=0, max=2**31 - 1, tooltip=tooltip, advanced=True)


def _device_input() -> io.Combo.Input:
    return io.Combo.Input(
        "device",
        options=list(DEVICES),
        advanced=True,
        tooltip="Where to compute. auto: the GPU if ComfyUI uses one; its models are unloaded first.",
    )


def _device(name: str) -> str:
    device = comfy.model_management.get_torch_device()
    if name == "cpu" or comfy.model_management.is_device_cpu(device):
        if name == "gpu":
            raise ValueError("ComfyUI uses no GPU here. Choose auto or cpu.")
        return "cpu"
    comfy.model_management.unload_all_models()
    comfy.model_management.soft_empty_cache()
    return str(device)


def _state(dataset: str) -> str:
    """Changes when runs are added to a dataset or removed."""
    runs = dataset_path(dataset) / RUNS
    return f"{runs.stat().st_mtime_ns} {len(list(runs.iterdir()))}" if runs.is_dir() else ""


def _image(figure) -> torch.Tensor:
    return torch.from_numpy(report.pixels(figure)).float()[None] / 255


def _shown(first, image: torch.Tensor, text: str | None, told: dict) -> io.NodeOutput:
    """What a node gives, and the same shown on it."""
    shown = {"text": [first if text is None else text], "diffusion_probe": [told], **ui.PreviewImage(image).as_dict()}
    return io.NodeOutput(first, image, *(() if text is None else (text,)), ui=shown)


NODES = [TrainProbe, EvaluateProbe]
