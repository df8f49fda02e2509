"""The fast path of recording: what it writes can be read, and it goes on where it stopped."""

import pytest
import torch
from diffusion_probe.testbed import scenes
from diffusion_probe.testbed.load import load_testbed
from diffusion_probe.testbed.sample import sample_latents
from diffusion_probe.testbed.scorer import GroundTruth
from diffusion_probe.training.dataset.folder import Dataset
from diffusion_probe.training.dataset.labels import other_phrases, other_prompts
from diffusion_probe.training.dataset.phrases import prompt_phrases
from diffusion_probe.training.testbed_recording import MOMENTS, TestbedRecorder


def test_two_prompts_are_recorded_once_with_their_labels(tmp_path):
    recorder = TestbedRecorder("flux", tmp_path, seeds=2, seed=4, half=False)
    recorder.record(2, (0, 2))
    assert len(Dataset(tmp_path).runs) == 1
    recorder.record(2)
    dataset = Dataset(tmp_path)
    chosen = [scene.prompt for scene in scenes.sample_scenes(2, 4, "train")]
    runs = {run.prompt: run for run in dataset.runs}
    assert sorted(runs) == sorted(chosen) and not dataset.damaged
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    TestbedRecorder("flux", tmp_path, seeds=2, seed=4, half=False).record(2)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    run = runs[chosen[0]]
    own, other = run.phrases.keys(), prompt_phrases(chosen[1], len(chosen[1].split())).keys()
    assert len(own) > 1 and chosen[1] in run.others and run.others.keys() - own - {chosen[1]} <= other
    assert tuple(moment.step for moment in run.moments) == MOMENTS[0]
    assert run.settings == {"half": False, "size": [128, 128]}
    model, clip, vae = load_testbed("flux")
    with torch.inference_mode():
        images = vae.decode(sample_latents(model, clip, run.prompt, run.seeds))
        truth = {prompt: GroundTruth().score(images, [prompt] * 2).tolist() for prompt in (run.prompt, *run.others)}
    assert list(run.labels) == ["truth", "structure", "appearance"]
    assert run.labels["truth"] == pytest.approx(truth[run.prompt], abs=0.02)
    assert all(scores == pytest.approx(truth[other], abs=0.02) for other, scores in run.others.items())


@pytest.mark.long
def test_the_same_prompts_at_another_size_are_other_runs_of_the_dataset(tmp_path):
    for size in ((128, 128), (96, 160)):
        TestbedRecorder("flux", tmp_path, seeds=2, seed=4, size=size).record(1)
    usual, wide = sorted(Dataset(tmp_path).runs, key=lambda run: run.settings["size"], reverse=True)
    assert usual.prompt == wide.prompt and ("final", 16, 16) in usual.grids
    assert {("0.activation", 6, 10), ("0.maps", 6, 10), ("final", 12, 20)} <= set(wide.grids)


def test_other_prompts_are_some_at_random_and_some_alike_never_the_prompt_itself():
    pool = [f"prompt {number}" for number in range(50)] + ["a red fox on a hill", "a red cat on a hill", "a red fox"]
    others = other_prompts("a red fox on a hill", pool)
    assert len(others) == 6 == len(set(others)) and "a red fox on a hill" not in others
    assert others == other_prompts("a red fox on a hill", pool)
    assert {"a red cat on a hill", "a red fox"} <= set(others)
    parts = other_phrases("a red fox on a hill", pool)
    assert parts == other_phrases("a red fox on a hill", pool) and len(parts) == len(set(parts)) > 0
    assert other_prompts("a", []) == [] and other_prompts("a", ["a", "b"]) == ["b"]
