"""``python -m training record --ray`` on a cluster on this machine, compared with what one server records."""

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
from safetensors.torch import load_file

from support.fleet import record_by_command, recording

ray = pytest.importorskip("ray", reason="Ray is not installed")


@pytest.fixture(scope="module")
def cluster():
    """Three nodes of one CPU each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.more = [cluster.add_node(num_cpus=1) for _ in range(2)]
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def command(tmp_path):
    def call(out, *more):
        only = "--disable-all-custom-nodes --whitelist-custom-nodes diffusion-probe"
        options = ("--out", str(tmp_path / out), "--comfyui-arguments", only, *more)
        record_by_command(tmp_path, recording(f"tests/{tmp_path.name}"), *options, seeds=6)
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
