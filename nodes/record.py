"""Attach Recorder and Record Probe Data: features of runs and rewards of their images, for training."""

from pathlib import Path

from comfy_api.latest import io

from ..engine.capture.attach import attach_probe, probe_of
from ..engine.core.features import ALL_TEXT, NEEDS
from ..engine.core.probe import CaptureAll
from ..training.dataset.folder import run_path
from ..training.dataset.recorder import FinishedRun, dataset_size, record_run, require_sound
from ..training.dataset.sampled_run import sampled_run
from ..training.dataset.workflow_key import NODE, nodes_before, workflow_key
from .dataset_folder import dataset_path
from .errors import named_errors
from .sockets import Reward, never_the_same

SAMPLED = ("latent", "images")
"""The inputs of Record Probe Data that cost a run."""


class AttachRecorder(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeAttachRecorder",
            display_name="Attach Recorder",
            category="diffusion probe/training",
            description="Captures the features that every kind of probe needs from the sampler runs of this model, for "
            "Record Probe Data. The images stay exactly the same.",
            search_aliases=["collect training data", "dataset", "capture activations", "diffusion probe"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The model to record, of a family listed in the help, with or without LoRA.",
                ),
                io.String.Input(
                    "moments",
                    default="8%, 20%, 40%, 60%",
                    tooltip='When to capture: "20%", "step 5" or several. Probes work at these moments and between.',
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="Connect it to the sampler and to Record Probe Data.")
            ],
        )

    @classmethod
    def execute(cls, model, moments: str) -> io.NodeOutput:
        with named_errors("Attach Recorder"):
            return io.NodeOutput(attach_probe(model, CaptureAll(), moments))


class RecordProbeData(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=NODE,
            display_name="Record Probe Data",
            category="diffusion probe/training",
            description="Writes the features of a finished run and the rewards of its images into a dataset for "
            "training probes. A run that is in it already is not sampled again.",
            search_aliases=["save dataset", "collect training data", "label images", "train probe", "diffusion probe"],
            is_output_node=True,
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            inputs=[
                io.Model.Input("model", lazy=True, tooltip="The model from Attach Recorder that sampled this latent."),
                io.Latent.Input("latent", lazy=True, tooltip="The finished latent from the sampler, unchanged."),
                io.Image.Input("images", lazy=True, tooltip="The same latent, decoded, with all of its rows."),
                Reward.Input(
                    "reward", lazy=True, tooltip="The reward model that scores the images: probes learn to predict it."
                ),
                io.String.Input(
                    "prompt",
                    multiline=True,
                    dynamic_prompts=False,
                    tooltip="The text of the prompt. Connect one text node to this and to Encode Words.",
                ),
                io.String.Input(
                    "dataset",
                    default="my-model",
                    tooltip="Name of the folder in output/probe_data. One dataset is for one model and one reward.",
                ),
                Reward.Input(
                    "reward_2",
                    optional=True,
                    lazy=True,
                    tooltip="A second reward model, recorded next to the first, for probes with several heads.",
                ),
                Reward.Input("reward_3", optional=True, lazy=True, tooltip="A third reward model."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs) -> float:
        return never_the_same()  # whether the run is in the dataset decides, not whether the node ran before

    @classmethod
    def check_lazy_status(cls, prompt: str, dataset: str, **connected) -> list[str]:
        if cls._run_file(prompt, dataset).exists():
            return []
        with named_errors("Record Probe Data"):
            require_sound(dataset_path(dataset))
            if first := [name for name, value in connected.items() if value is None and name not in SAMPLED]:
                return first  # checked before anything is sampled
            require_recorder(connected["model"])
            for each in (value for name, value in connected.items() if name.startswith("reward") and value is not None):
                each.require_readable(prompt)
        return [name for name in SAMPLED if connected[name] is None]

    @classmethod
    def execute(cls, prompt: str, dataset: str, model, latent, images, reward, reward_2=None, reward_3=None):
        with named_errors("Record Probe Data"):
            file = cls._run_file(prompt, dataset)
            there = file.exists()
            if not there:
                require_all(model=model, latent=latent, images=images, reward=reward)
                require_recorder(model)
                rewards = [each for each in (reward, reward_2, reward_3) if each is not None]
                for each in rewards:
                    each.require_readable(prompt)
                folder, workflow = dataset_path(dataset), cls._workflow()
                run = sampled_run(model, latent, images, rewards, prompt, folder, workflow)
                record_run(folder, file.stem, run)
            size = dataset_size(dataset_path(dataset), file.stem)
        done, several = "Already in" if there else "Recorded in", "s" if size["runs"] > 1 else ""
        text = [f"{done} {dataset}: {size['runs']} run{several}, {size['bytes'] / 1e6:.1f} MB."]
        if not there:
            text += _lines(run, size["run_bytes"])
        report = {"key": file.stem, "recorded": not there, **size}
        return io.NodeOutput(ui={"text": ["\n".join(text)], "diffusion_probe": [report]})

    @classmethod
    def _run_file(cls, prompt: str, dataset: str) -> Path:
        with named_errors("Record Probe Data"):
            key = workflow_key(cls.hidden.dynprompt.get_node, cls.hidden.unique_id, prompt)
            return run_path(dataset_path(dataset), key)

    @classmethod
    def _workflow(cls) -> dict:
        return nodes_before(cls.hidden.dynprompt.get_node, cls.hidden.unique_id)


def require_all(**connected) -> None:
    """Refuse inputs whose nodes gave nothing.

    Raises:
        ValueError: an input is None; the message names it.
    """
    if missing := [name for name, value in connected.items() if value is None]:
        raise ValueError(f"the {missing[0]} is missing: nothing came in. Connect what makes one.")


def require_recorder(model) -> None:
    """Refuse a MODEL that does not capture all features that are recorded.

    Raises:
        ValueError: another probe is attached to it.
    """
    if frozenset(NEEDS) - frozenset(probe_of(model).needs):
        raise ValueError(
            "this MODEL comes from Attach Probe, which captures what its probe needs and no more. "
            "Connect the MODEL from Attach Recorder, here and to the sampler."
        )


def _lines(run: FinishedRun, run_bytes: int) -> list[str]:
    samples = len(run.seeds) * len(run.moments)
    lines = [f"{len(run.seeds)} images, {len(run.moments)} moments, {run_bytes / samples / 1e3:.0f} kB each."]
    for label, values in run.labels.own.items():
        lines.append(f"{label}: {', '.join(f'{value:.3g}' for value in values)}")
        if len(values) > 1 and len(set(values)) == 1:
            lines.append(f"All images have the same {label}: they teach nothing about which seed is better.")
    if run.moments[0][0].words == ():
        lines.append(f'The prompt\'s words are not known, its maps count as "{ALL_TEXT}": use Encode Words.')
    return lines


NODES = [AttachRecorder, RecordProbeData]
