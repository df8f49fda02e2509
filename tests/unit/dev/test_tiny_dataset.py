"""The dataset that comes with the pack: small, for training and for measuring the shipped probe."""

import torch
from diffusion_probe.probe_models.probe_file import load_probe
from diffusion_probe.training.dataset.folder import Dataset, prompt_digest
from diffusion_probe.training.dataset.projection import dataset_projection

from training.client.paths import PACK_ROOT

FOLDER = PACK_ROOT / "testbed" / "datasets" / "flux"


def test_the_shipped_dataset_is_whole_and_small_and_has_prompts_of_both_splits():
    dataset = Dataset(FOLDER)
    training, validation = dataset.split()
    assert not dataset.damaged and len(training) >= 24 and len(validation) >= 3
    assert all(len(run.seeds) == 4 and len(run.words) > 8 for run in dataset.runs)
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) < 8e6
    assert len({run.prompt for run in dataset.runs}) == len(dataset.runs)


def test_the_shipped_probe_reads_it_as_it_is_and_learnt_none_of_its_prompts():
    probe = load_probe(PACK_ROOT / "testbed" / "probes" / "flux" / "joint.safetensors")
    assert torch.equal(dataset_projection(FOLDER), probe.projection)
    assert not {prompt_digest(run.prompt) for run in Dataset(FOLDER).runs} & probe.prompts
