"""``python -m training record --ray`` on a cluster on this machine, compared with what one server records."""

import argparse
import json
import os
import random
import signal
import threading
import time

import psutil
import pytest
import torch
from diffusion_probe.training.dataset.checking import check_dataset
from diffusion_probe.training.dataset.folder import Dataset
from diffusion_probe.training.fleet import record as fleet_record
from safetensors.torch import load_file

from support.graphs import node

ray = pytest.importorskip("ray", reason="Ray is not installed")
PROMPTS = ("a large red circle to the left of a small blue square", "a small green triangle above a large blue circle")


@pytest.fixture(scope="module")
def cluster():
    """Three nodes of one CPU each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.more = [cluster.add_node(num_cpus=1) for _ in range(2)]
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def workflow(name):
    """One seed of a prompt in four steps."""
    return {
        "model": node("DiffusionProbeLoadTestbedModel", name="flux"),
        "text": node("PrimitiveStringMultiline", value=PROMPTS[0]),
        "positive": node("DiffusionProbeEncodeWords", clip=["model", 1], text=["text", 0]),
        "negative": node("CLIPTextEncode", clip=["model", 1], text=""),
        "attach": node("DiffusionProbeAttachRecorder", model=["model", 0], moments="50%"),
        "latent": node("EmptySD3LatentImage", width=128, height=128, batch_size=1),
        "sampler": node(
            "KSampler", model=["attach", 0], positive=["positive", 0], negative=["negative", 0],
            latent_image=["latent", 0], seed=0, steps=4, cfg=2.0, sampler_name="euler", scheduler="simple",
            denoise=1.0,
        ),
        "images": node("VAEDecode", samples=["sampler", 0], vae=["model", 2]),
        "judge": node("DiffusionProbeShapesJudge"),
        "record": node(
            "DiffusionProbeRecord", model=["attach", 0], latent=["sampler", 0], images=["images", 0],
            reward=["judge", 0], prompt=["text", 0], dataset=name,
        ),
    }  # fmt: skip


@pytest.fixture
def command(tmp_path):
    (tmp_path / "workflow.json").write_text(json.dumps(workflow(f"tests/{tmp_path.name}")))
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))

    def call(out, *more):
        parser = argparse.ArgumentParser()
        fleet_record.add_arguments(parser)
        given = [str(tmp_path / "workflow.json"), "--prompts", str(tmp_path / "prompts.txt"), "--seeds", "6", "--yes"]
        only = "--disable-all-custom-nodes --whitelist-custom-nodes diffusion-probe"
        options = parser.parse_args([*given, "--out", str(tmp_path / out), "--comfyui-arguments", only, *more])
        options.run(options)
        return tmp_path / out

    return call


def files(folder):
    return {path.name: load_file(path) for path in (folder / "runs").glob("*.safetensors")}


def kill_a_worker(folder, stop):
    """Kill one of the actors outright when the first runs are there."""
    while not stop.is_set() and len(list((folder / "runs").glob("*.safetensors"))) < 2:
        time.sleep(0.1)
    actors = [each for each in psutil.process_iter(["cmdline"]) if "ComfyActor" in " ".join(each.info["cmdline"] or ())]
    actors = [each for each in actors if os.getpid() in {parent.pid for parent in each.parents()}] or actors
    if actors and not stop.is_set():
        os.kill(random.Random(0).choice(actors).pid, signal.SIGKILL)
        killed.append(1)


killed = []


@pytest.mark.long
def test_a_cluster_that_loses_a_worker_and_a_node_records_as_one_server(cluster, command, tmp_path, server):
    stop = threading.Event()
    killer = threading.Thread(target=kill_a_worker, args=(tmp_path / "of_ray", stop), daemon=True)
    killer.start()
    out = command("of_ray", "--ray", cluster.address, "--workers", "2", "--lease", "8")
    stop.set()
    killer.join(30)
    assert killed and len(Dataset(out).runs) == 12 and not check_dataset(out).damaged
    cluster.remove_node(cluster.more[0])
    lost = sorted((out / "runs").glob("*.safetensors"))[:3]
    for path in lost:
        path.unlink()
    command("of_ray", "--ray", cluster.address, "--workers", "1")
    of_ray, of_one = files(out), None
    alone = tmp_path / "of_one"
    alone.mkdir()
    (alone / "projection.safetensors").write_bytes((out / "projection.safetensors").read_bytes())
    (alone / "dataset.json").write_bytes((out / "dataset.json").read_bytes())
    of_one = files(command("of_one", "--server", server.url))
    assert of_ray.keys() == of_one.keys() and len(of_one) == 12
    for name, tensors in of_ray.items():
        assert all(torch.equal(tensor, of_one[name][each]) for each, tensor in tensors.items())
