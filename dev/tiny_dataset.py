"""The tiny dataset that comes with the pack: ``python -m dev.tiny_dataset FOLDER`` records it with the small FLUX.

Train Probe and Evaluate Probe run on it at the first click. The joint probe that comes with the pack reads its
activations as they are, and was trained on none of its prompts; some of these are of the validation split, so that a
training can stop.
"""

import argparse
from pathlib import Path

from training.client import loader

MODEL, SEED, SEEDS = "flux", 2101, 4
TRAINING, VALIDATION = 26, 6
"""Numbers of prompts of either split."""

MOMENT = 5
"""The only step that is captured, of 25: files stay small."""

OTHERS = 2
"""Number of other prompts that the images are scored under."""


def record(folder: Path) -> None:
    """Record the dataset; runs that are there already are passed over."""
    from diffusion_probe.probe_models.probe_file import load_probe
    from diffusion_probe.testbed import scenes
    from diffusion_probe.testbed.load import PROBES
    from diffusion_probe.training.dataset.folder import is_validation, prompt_digest
    from diffusion_probe.training.dataset.projection import keep_projection
    from diffusion_probe.training.testbed_recording import TestbedRecorder

    probe = load_probe(PROBES / MODEL / "joint.safetensors")
    folder.mkdir(parents=True, exist_ok=True)
    keep_projection(folder, probe.projection)
    recorder = TestbedRecorder(MODEL, folder, SEEDS, SEED, moments=((MOMENT,),), others=OTHERS)
    prompts = [scene.prompt for scene in scenes.sample_scenes(120, SEED, "train")]
    new = [number for number, prompt in enumerate(prompts) if prompt_digest(prompt) not in probe.prompts]
    validation = [number for number in new if is_validation(prompts[number])][:VALIDATION]
    training = [number for number in new if not is_validation(prompts[number])][:TRAINING]
    recorder.pool = [prompts[number] for number in sorted(validation + training)]
    for number in sorted(validation + training):
        recorder.record_prompt(number, prompts[number])


def main() -> None:
    """Record into the folder that is named."""
    parser = argparse.ArgumentParser(prog="python -m dev.tiny_dataset", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the dataset goes")
    folder = parser.parse_args().folder
    loader.use_comfy()
    record(folder)


if __name__ == "__main__":
    main()
