"""Record Probe Data and ``python -m training record`` on the real server, with the testbed."""

import argparse
import copy
import json
import shutil
import subprocess
import threading

import pytest
import torch
from diffusion_probe.testbed.load import load_testbed
from diffusion_probe.testbed.sample import sample_latents
from diffusion_probe.testbed.scorer import GroundTruth
from diffusion_probe.training.client import record as recording_client
from diffusion_probe.training.client.jobs import own_seeds
from diffusion_probe.training.dataset.folder import Dataset

from dev.server import free_port
from support.graphs import node
from support.marks import some_long
from support.saved import template
from training.client.server import PromptError
from training.client.workflow import load_prompt

PROMPT = "a large red circle to the left of a small blue square"
OTHER = "a small green triangle above a large blue circle"


@pytest.fixture
def prompt(tmp_path):
    """Two seeds of a prompt, ten steps, recorded in a dataset of the test's own."""
    return {
        "model": node("DiffusionProbeLoadTestbedModel", name="flux"),
        "text": node("PrimitiveStringMultiline", value=PROMPT),
        "positive": node("DiffusionProbeEncodeWords", clip=["model", 1], text=["text", 0]),
        "negative": node("CLIPTextEncode", clip=["model", 1], text=""),
        "attach": node("DiffusionProbeAttachRecorder", model=["model", 0], moments="8%, 20%, 40%, 60%"),
        "seeds": node("DiffusionProbeSeedBatch", model=["attach", 0], first_seed=5, count=2, seeds=""),
        "latent": node("EmptySD3LatentImage", width=128, height=128, batch_size=["seeds", 3]),
        "sampler": node(
            "KSampler", model=["seeds", 1], positive=["positive", 0], negative=["negative", 0],
            latent_image=["latent", 0], seed=0, steps=10, cfg=2.0, sampler_name="euler", scheduler="simple",
            denoise=1.0,
        ),
        "images": node("VAEDecode", samples=["sampler", 0], vae=["model", 2]),
        "judge": node("DiffusionProbeShapesJudge"),
        "record": node(
            "DiffusionProbeRecord", model=["attach", 0], latent=["sampler", 0], images=["images", 0],
            reward=["judge", 0], prompt=["text", 0], dataset=f"tests/{tmp_path.name}",
        ),
    }  # fmt: skip


@pytest.fixture
def folder(server, prompt):
    return server.output_directory / "probe_data" / prompt["record"]["inputs"]["dataset"]


def ran(done):
    return {data["node"] for data in done.data("executing") if data["node"]}


def test_a_run_is_recorded_once_and_a_second_queueing_samples_and_adds_nothing(run, client, prompt, folder):
    done = run(prompt)
    (report,) = done.outputs["record"]["diffusion_probe"]
    assert report["recorded"] and report["runs"] == 1 and done.text("record").startswith("Recorded in tests/")
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    again = run(prompt)
    assert ran(again) == {"record"} and again.text("record").startswith("Already in")
    client._post("/free", {"free_memory": True, "unload_models": True})  # as after a restart
    # The server forgets before the next prompt or after it, whichever its worker comes to first.
    assert {"text", "record"} in (ran(run(prompt)), ran(run(prompt)))
    assert files == {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    prompt["seeds"]["inputs"]["first_seed"] = 7
    assert "sampler" in ran(run(prompt)) and len(Dataset(folder).runs) == 2


def test_what_is_recorded_is_what_the_run_was(run, prompt, folder):
    run(prompt)
    dataset = Dataset(folder)
    (record,) = dataset.runs
    assert (record.prompt, record.seeds, record.steps) == (PROMPT, (5, 6), 10)
    assert record.words[:4] == ("a", "large", "red", "circle") and dataset.header.family == "FLUX"
    assert [round(moment.percent, 2) <= limit for moment, limit in zip(record.moments, (0.08, 0.2, 0.4, 0.6))] == [
        True
    ] * 4
    assert record.settings["noise"] == ["5", "6"] and record.settings["workflow"]["sampler"]["inputs"]["steps"] == 10
    model, clip, vae = load_testbed("flux")
    with torch.inference_mode():
        final = sample_latents(model, clip, PROMPT, (5, 6), steps=10)
        scores = GroundTruth().score(vae.decode(final), [PROMPT] * 2)
    held = dataset.load(record)
    assert torch.allclose(held["final"].float(), final, atol=2e-2)
    assert record.labels == {"truth": pytest.approx(scores.tolist(), abs=0.05)}
    rows, words = 2, len(record.words)
    assert held["0.maps"].shape == (rows, len(dataset.header.blocks), words, 8, 8)
    assert held["3.activation"].shape[:2] == (rows, 48) and held["text"].shape[0] == words


def test_images_are_also_judged_by_parts_of_their_prompt_and_by_other_prompts(run, prompt, folder):
    run(prompt)
    prompt["text"]["inputs"]["value"] = OTHER
    run(prompt)
    by_prompt = {record.prompt: record for record in Dataset(folder).runs}
    assert by_prompt[PROMPT].others.keys() == by_prompt[PROMPT].phrases.keys() and by_prompt[PROMPT].phrases
    judged = by_prompt[OTHER].others
    model, clip, vae = load_testbed("flux")
    with torch.inference_mode():
        images = vae.decode(sample_latents(model, clip, OTHER, (5, 6), steps=10))
    assert PROMPT in judged and judged.keys() > by_prompt[OTHER].phrases.keys()
    for asked, scores in judged.items():
        assert scores == pytest.approx(GroundTruth().score(images, [asked] * 2).tolist(), abs=0.05)


def test_a_part_that_the_reward_can_not_judge_is_left_out(run, prompt, folder):
    prompt["text"]["inputs"]["value"] = "a red circle, oil painting"
    run(prompt)
    (record,) = Dataset(folder).runs
    assert record.phrases == {"red circle": (1, 2), "red circle oil painting": (1, 2, 3, 4)}


def test_a_dataset_that_was_deleted_is_recorded_again(run, prompt, folder):
    run(prompt)
    shutil.rmtree(folder)
    done = run(prompt)
    assert done.outputs["record"]["diffusion_probe"][0]["recorded"] and len(Dataset(folder).runs) == 1


@pytest.mark.parametrize(
    ("where", "change", "says"),
    [
        ("record", {"dataset": "../outside"}, 'Record Probe Data: "../outside" is no name of a dataset. Accepted are'),
        ("record", {"dataset": "/outside"}, "is no name of a dataset"),
        ("record", {"dataset": "C:\\\\outside"}, "is no name of a dataset"),
        ("record", {"dataset": " . "}, "is no name of a dataset"),
        ("record", {"model": ["model", 0]}, "Record Probe Data: No probe is attached to this MODEL"),
        ("record", {"latent": ["latent", 0]}, "were not sampled with the probed MODEL"),
        ("record", {"images": ["one", 0]}, "1 images for 2 rows of the latent. Decode the same latent"),
        ("record", {"reward_2": ["judge", 0]}, "Two rewards measure truth. Connect each reward once"),
        ("text", {"value": " "}, "Record Probe Data: The prompt is empty"),
        ("attach", {"moments": "8%, step 40"}, "the run had 10 model evaluations, so no step 40"),
        ("attach", {"moments": "soon"}, 'Attach Recorder: "soon" is no moment'),
    ],
)
def test_bad_input_is_one_error_with_node_cause_and_fix_and_writes_nothing(run, prompt, folder, where, change, says):
    prompt["one"] = node("ImageFromBatch", image=["images", 0], batch_index=0, length=1)
    prompt[where]["inputs"].update(change)
    with pytest.raises(PromptError, match=says):
        run(prompt)
    assert not folder.exists() and not (folder.parent.parent.parent / "outside").exists()


def test_a_dataset_is_of_one_model(run, prompt, folder):
    run(prompt)
    sdxl = copy.deepcopy(prompt)
    sdxl["model"]["inputs"]["name"] = "sdxl"
    sdxl["latent"]["class_type"] = "EmptyLatentImage"
    with pytest.raises(PromptError, match="Record Probe Data: The dataset .* was recorded with .*into another folder"):
        run(sdxl)
    assert len(Dataset(folder).runs) == 1


@pytest.fixture
def small_disk(folder):
    """The dataset on a file system of its own, of 500 KiB: room for one run."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=500k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting takes root; test_dataset.py simulates a full disk everywhere")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # the server may still have a file open


def test_a_full_disk_is_one_error_of_the_node_and_ends_a_headless_recording(run, prompt, small_disk, command):
    run(prompt)
    prompt["seeds"]["inputs"]["first_seed"] = 7
    with pytest.raises(PromptError, match="Record Probe Data: The disk is full. Everything recorded before is intact"):
        run(prompt)
    assert len(Dataset(small_disk).runs) == 1
    with pytest.raises(SystemExit, match="0 of 4 runs were recorded; 1 failed, the last with: .* The disk is full"):
        command("--seeds", "4", "--yes")
    assert len(Dataset(small_disk).runs) == 1 and not Dataset(small_disk).damaged


@pytest.fixture
def command(server, prompt, tmp_path):
    """``python -m training record``, in process, of the test's workflow and two prompts."""
    workflow, prompts = tmp_path / "workflow.json", tmp_path / "prompts.txt"
    workflow.write_text(json.dumps(prompt))
    prompts.write_text(f"{PROMPT}\n{OTHER}\n")

    def call(*more, url=server.url):
        parser = argparse.ArgumentParser()
        recording_client.add_arguments(parser)
        given = parser.parse_args([str(workflow), "--prompts", str(prompts), "--server", url, *more])
        given.run(given)

    return call


def test_headless_records_every_prompt_and_seed_and_goes_on_where_it_was_stopped(command, folder, capsys, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda question: "n")
    with pytest.raises(SystemExit, match="Stopped. Run the same command again"):
        command("--seeds", "3")
    said = capsys.readouterr()
    assert "4 runs, 0 of them recorded already" in said.out
    assert "2 runs to go: about 1 min at " in said.out + said.err and "GB are free" in said.out + said.err
    assert len(Dataset(folder).runs) == 2
    command("--seeds", "3", "--yes")
    assert "4 runs, 2 of them recorded already" in capsys.readouterr().out
    recorded = {(run.prompt, run.seeds) for run in Dataset(folder).runs}
    assert recorded == {(text, own_seeds(text, 3)[start : start + 2]) for text in (PROMPT, OTHER) for start in (0, 2)}
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    command("--seeds", "3", "--yes")
    assert "4 runs, 4 of them recorded already" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("name", some_long(["record-testbed", "record-testbed-sdxl"], ["record-testbed-sdxl"]))
def test_a_saved_workflow_records_as_it_is_and_by_the_command_line(server, client, tmp_path, name):
    path, dataset = tmp_path / "workflow.json", f"tests/{tmp_path.name}"
    path.write_text(json.dumps(template(name)))
    prompt = load_prompt(path, client.object_info())
    (record,) = [number for number, given in prompt.items() if given["class_type"] == "DiffusionProbeRecord"]
    prompt[record]["inputs"]["dataset"] = dataset
    (report,) = client.run(prompt)[record]["diffusion_probe"]
    assert report["recorded"]
    (tmp_path / "prompts.txt").write_text(PROMPT)
    options = argparse.ArgumentParser()
    recording_client.add_arguments(options)
    given = ["--prompts", str(tmp_path / "prompts.txt"), "--seeds", "2", "--dataset", dataset, "--server", server.url]
    recording_client.record(options.parse_args([str(path), *given, "--yes"]))
    runs = Dataset(server.output_directory / "probe_data" / dataset).runs
    assert sorted(len(run.seeds) for run in runs) == [2, 4] and {run.steps for run in runs} == {25}
    assert all(len(run.moments) == 4 and len(run.words) > 8 for run in runs)


def test_two_headless_recordings_at_once_make_one_whole_dataset(command, folder):
    ended = []

    def record():
        try:
            command("--seeds", "4", "--yes")
        except SystemExit as stopped:
            ended.append(str(stopped))

    both = [threading.Thread(target=record) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(300)
    dataset = Dataset(folder)
    assert not ended and len(dataset.runs) == 4 and not dataset.damaged


def test_a_prompt_that_fails_is_named_and_the_others_are_recorded(command, folder, tmp_path):
    with (tmp_path / "prompts.txt").open("a") as prompts:
        prompts.write("no prompt of shapes\n")
    with pytest.raises(
        SystemExit, match="2 of 3 runs were recorded; 1 failed, the last with: .*(?s:.)*it goes on with"
    ):
        command("--seeds", "2", "--yes")
    assert {run.prompt for run in Dataset(folder).runs} == {PROMPT, OTHER}


def test_a_server_that_is_away_or_refuses_is_one_message(command, prompt, tmp_path):
    with pytest.raises(SystemExit, match="No ComfyUI answers at .* Start ComfyUI, or name it with --server"):
        command(url=f"http://127.0.0.1:{free_port()}")
    prompt["model"]["inputs"]["name"] = "gone"
    (tmp_path / "workflow.json").write_text(json.dumps(prompt))
    with pytest.raises(
        SystemExit, match="ComfyUI refused the workflow.*Load Testbed Model|DiffusionProbeLoadTestbedModel"
    ):
        command("--yes")
    (tmp_path / "workflow.json").write_text("{")
    with pytest.raises(SystemExit, match="is no workflow .* Save it in ComfyUI"):
        command("--yes")
    (tmp_path / "prompts.txt").unlink()
    with pytest.raises(SystemExit, match="prompts.txt"):
        command("--yes")
