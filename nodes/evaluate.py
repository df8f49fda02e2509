"""Evaluate Probe: measure how well a trained probe picks seeds of a recorded dataset."""

import comfy.model_management
import comfy.utils
from comfy_api.latest import io, ui

from ..probe_models.probe_file import LearnedProbe
from ..training import report
from ..training.evaluation import evaluate_probe
from .dataset_folder import dataset_state, recorded_path
from .device import free_device
from .errors import named_errors
from .sockets import Probe, dataset_input, device_input, number_seed_input


class EvaluateProbe(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeEvaluateProbe",
            display_name="Evaluate Probe",
            category="diffusion probe/training",
            description="Measures how well a trained probe picks seeds, on recorded prompts that it was not trained "
            "on, next to chance, full images at equal cost and the truth.",
            search_aliases=["accuracy", "spearman", "validate probe", "diffusion probe"],
            is_output_node=True,
            inputs=[
                Probe.Input("probe", tooltip="A trained probe, from Train Probe or Load Probe."),
                dataset_input(),
                number_seed_input("The seed for random scores, ties and confidence intervals."),
                device_input(),
            ],
            outputs=[
                io.String.Output(
                    display_name="table", tooltip="The figures at every recorded moment, as a Markdown table."
                ),
                io.Image.Output(
                    display_name="report", tooltip="A picture with accuracy, scatter, calibration and the table."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, dataset: str, **inputs) -> str | float:
        return dataset_state(dataset)

    @classmethod
    def execute(cls, probe, dataset: str, seed: int, device: str) -> io.NodeOutput:
        with named_errors("Evaluate Probe"):
            if not isinstance(probe, LearnedProbe):
                raise ValueError(
                    f'"{probe.name}" was not trained, and a dataset holds only what trained probes read. '
                    "Connect Load Probe or Train Probe."
                )
            report.require_drawing()
            bar = comfy.utils.ProgressBar(1)

            def watch(done: int, rows: int) -> None:
                comfy.model_management.throw_exception_if_processing_interrupted()
                bar.update_absolute(done, rows)

            found = evaluate_probe(probe, recorded_path(dataset), seed, free_device(device), watch)
            bar.update_absolute(bar.total)
            image = report.image(report.evaluation_report(found))
            shown = {"text": [found.text()], "diffusion_probe": [found.to_json()], **ui.PreviewImage(image).as_dict()}
            return io.NodeOutput(found.text(), image, ui=shown)


NODES = [EvaluateProbe]
