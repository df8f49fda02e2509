"""``python -m training record`` on two real servers that share no folder."""

import subprocess
import threading
import time

import pytest
import torch
from diffusion_probe.training.client.jobs import own_seeds
from diffusion_probe.training.dataset.folder import Dataset
from diffusion_probe.training.fleet import record as fleet_record
from safetensors.torch import load_file

from dev.server import ComfyServer, free_port
from support.fleet import PROMPTS, record_by_command, recording
from support.graphs import node


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    """A second server with folders of its own."""
    models = tmp_path_factory.mktemp("other_models")
    with ComfyServer(extra_arguments=("--models-directory", str(models))) as running:
        running.models = models
        yield running


@pytest.fixture
def name(tmp_path):
    return f"tests/{tmp_path.name}"


@pytest.fixture
def workflow(name):
    """One seed of a prompt in four steps."""
    return recording(name)


@pytest.fixture
def command(workflow, tmp_path):
    """``python -m training record``, in process, of the test's workflow and two prompts."""

    def call(*servers, seeds=4, out="out", more=()):
        urls = [each for url in servers for each in ("--server", url)]
        folder = ("--out", str(tmp_path / out)) if out else ()
        record_by_command(tmp_path, workflow, *urls, *folder, *more, seeds=seeds)
        return tmp_path / out if out else None

    return call


def files(folder):
    return {path.name: load_file(path) for path in (folder / "runs").glob("*.safetensors")}


def test_two_servers_record_what_one_records_each_run_once(server, second, command, name, capsys):
    out = command(server.url, second.url)
    dataset, kept = Dataset(out), server.output_directory / "probe_data" / name
    expected = {(prompt, (seed,)) for prompt in PROMPTS for seed in own_seeds(prompt, 4)}
    assert {(run.prompt, run.seeds) for run in dataset.runs} == expected and len(dataset.runs) == 8
    assert not dataset.damaged and not list((out / ".claims").iterdir())
    shares = [len(files(each.output_directory / "probe_data" / name)) for each in (server, second)]
    assert sum(shares) >= 8 and min(shares) >= 2
    assert "8 runs, 0 of them recorded already" in capsys.readouterr().out
    command(server.url, out=None)  # one server by itself goes on with its part
    collected, alone = files(out), files(kept)
    assert collected.keys() == alone.keys()
    for key, tensors in collected.items():
        assert tensors.keys() == alone[key].keys()
        assert all(torch.equal(tensor, alone[key][each]) for each, tensor in tensors.items())
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}
    command(server.url, second.url)
    assert "8 runs, 8 of them recorded already" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}


@pytest.mark.long
def test_a_server_that_is_killed_in_mid_run_costs_its_run_and_nothing_else(server, command, workflow, capfd):
    workflow["sampler"]["inputs"]["steps"] = 12
    ended = threading.Event()
    with ComfyServer() as doomed:

        def kill():
            folder = doomed.output_directory / "probe_data" / workflow["record"]["inputs"]["dataset"] / "runs"
            while not list(folder.glob("*.safetensors")) and not ended.is_set():
                time.sleep(0.02)
            time.sleep(0.1)
            doomed.process.kill()

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        dataset = Dataset(command(server.url, doomed.url, seeds=4))
        ended.set()
        killer.join(10)
    assert len(dataset.runs) == 8 and not dataset.damaged
    said = capfd.readouterr()
    assert f"{doomed.url} is away" in said.out + said.err


def test_an_address_without_a_server_leaves_its_runs_to_the_others(server, second, command, capfd, monkeypatch):
    nobody = f"http://127.0.0.1:{free_port()}"
    dataset = Dataset(command(nobody, second.url, server.url))
    assert len(dataset.runs) == 8
    said = capfd.readouterr()
    assert f"{nobody} is away (No ComfyUI answers" in said.out + said.err
    with pytest.raises(SystemExit, match="No ComfyUI answers at .* Start ComfyUI, or name it with --server"):
        command(nobody, f"{nobody}1", out="other")


def test_several_servers_without_a_folder_here_are_refused(server, second, command):
    with pytest.raises(SystemExit, match="2 servers record.*name a folder here.*--out"):
        command(server.url, second.url, out=None)


def test_servers_with_other_packs_models_or_projections_are_refused_by_a_sentence(
    server, second, server_models, command, workflow, monkeypatch, name
):
    out = command(second.url, seeds=1)
    mine = fleet_record.pack_version()
    with monkeypatch.context() as patched:
        patched.setattr(fleet_record, "pack_version", lambda: {**mine, "pack": "9.9"})
        with pytest.raises(SystemExit, match="it has version .* of Diffusion Probe, and here is 9.9. Install the same"):
            command(second.url)
        patched.setattr(fleet_record, "pack_version", lambda: {**mine, "code": "edited"})
        with pytest.raises(SystemExit, match="of Diffusion Probe, with other files, and here is"):
            command(second.url)
    for models, content in ((server_models, b"one"), (second.models, b"another")):
        (models / "loras").mkdir(exist_ok=True)
        (models / "loras" / "small.safetensors").write_bytes(content)
    plain = workflow["attach"]["inputs"]["model"]
    workflow["lora"] = node("LoraLoaderModelOnly", model=plain, lora_name="small.safetensors", strength_model=0.0)
    workflow["attach"]["inputs"]["model"] = ["lora", 0]
    command(second.url, seeds=1, out="hashes", more=("--dataset", f"{name}-lora"))
    with pytest.raises(SystemExit, match="its file small.safetensors is another one.*Copy the same file there"):
        command(server.url, out="hashes", more=("--dataset", f"{name}-lora"))
    workflow["attach"]["inputs"]["model"] = plain
    command(server.url, out="mine", seeds=1, more=("--dataset", f"{name}-mine", "--first-seed", "9"))
    with pytest.raises(SystemExit, match="with another projection of activations.*--dataset"):
        command(second.url, out="mine")
    assert len(Dataset(out).runs) == 2


def test_a_full_disk_of_one_server_leaves_its_runs_to_the_other(server, second, command, name):
    folder = second.output_directory / "probe_data" / name
    folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting takes root")
    try:
        with pytest.raises(SystemExit) as ended:
            command(second.url, more=("--lease", "4"))
        assert "The disk is full" in str(ended.value) and "run the same command again" in str(ended.value)
        assert len(Dataset(command(second.url, server.url)).runs) == 8
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
