"""The real server: it starts with the pack, tells what went wrong, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from dev import server as server_module
from dev.server import ComfyServer, ServerError
from training.client.paths import PACK_ROOT
from training.client.server import ComfyClient, PromptError

IMAGE = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 2, "color": 255}}
PREVIEW = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}


def is_running(pid):
    """False for a zombie too: it has ended, its parent has only not looked yet."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_server_lists_the_stock_nodes_and_those_of_the_pack(client):
    info = client.object_info()
    assert "KSampler" in info
    assert any(name.startswith("DiffusionProbe") for name in info)


def test_a_prompt_runs_and_its_images_can_be_fetched(client):
    seen = []
    outputs = client.run({"1": IMAGE, "2": PREVIEW}, seen.append)
    files = [client.view(image) for image in outputs["2"]["images"]]
    assert len(files) == 2 and all(data.startswith(b"\x89PNG") for data in files)
    assert "execution_success" in {event["type"] for event in seen}


def test_an_uploaded_image_can_be_loaded(client, tmp_path):
    first = client.run({"1": IMAGE, "2": PREVIEW})["2"]["images"][0]
    path = tmp_path / "blue.png"
    path.write_bytes(client.view(first))
    load = {"class_type": "LoadImage", "inputs": {"image": client.upload(path)}}
    assert client.run({"1": load, "2": PREVIEW})["2"]["images"]


def test_a_refused_prompt_names_the_node_and_the_input(client):
    broken = {"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "batch_size": 1, "color": 0}}, "2": PREVIEW}
    with pytest.raises(PromptError, match=r"EmptyImage \(node 1\): Required input is missing: height"):
        client.run(broken)


def test_a_missing_node_type_is_named(client):
    with pytest.raises(PromptError, match="NoSuchNode"):
        client.run({"1": {"class_type": "NoSuchNode", "inputs": {}}, "2": PREVIEW})


def test_a_failing_node_is_named_with_its_exception(client):
    save = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "../../outside"}}
    with pytest.raises(PromptError, match=r"SaveImage \(node 2\) failed: .*outside the output folder"):
        client.run({"1": IMAGE, "2": save})


def test_an_interrupted_prompt_ends_as_interrupted_and_the_next_one_runs(client):
    large = {"class_type": "EmptyImage", "inputs": {**IMAGE["inputs"], "width": 2048, "height": 2048}}
    blurs = {
        str(n): {"class_type": "ImageBlur", "inputs": {"image": [str(n - 1), 0], "blur_radius": 31, "sigma": 9.0}}
        for n in range(2, 40)
    }
    prompt = {"1": large, **blurs, "40": {"class_type": "PreviewImage", "inputs": {"images": ["39", 0]}}}

    def interrupt_at_the_first_blur(event):
        if event["type"] == "executing" and event["data"]["node"] == "2":
            client.interrupt(event["data"]["prompt_id"])

    with pytest.raises(PromptError, match="Interrupted in ImageBlur") as caught:
        client.run(prompt, interrupt_at_the_first_blur)
    assert caught.value.interrupted
    assert client.run({"1": IMAGE, "2": PREVIEW})["2"]["images"]


def test_nothing_is_left_behind_when_the_block_is_left_by_an_exception():
    with pytest.raises(KeyboardInterrupt):
        with ComfyServer() as running:
            pid, home, url = running.process.pid, running.home, running.url
            assert is_running(pid)
            raise KeyboardInterrupt
    assert not is_running(pid)
    assert not home.exists()
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{url}/system_stats", timeout=2)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child whose parent was killed")
def test_the_server_ends_when_its_starter_is_killed_outright(monkeypatch, tmp_path):
    script = (
        f"import sys, time; sys.path.insert(0, {str(PACK_ROOT)!r}); from dev import server;"
        "s = server.ComfyServer(); s._start(); print(s.process.pid, s.home, flush=True); time.sleep(600)"
    )
    starter = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    pid, home = starter.stdout.readline().split()
    assert is_running(int(pid))
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    for _ in range(100):
        if not is_running(int(pid)):
            break
        time.sleep(0.1)
    assert not is_running(int(pid))
    subprocess.run(["rm", "-r", home], check=True)


def test_a_server_that_cannot_start_shows_the_end_of_its_log():
    with pytest.raises(ServerError, match="unrecognized arguments: --no-such-argument"):
        ComfyServer(extra_arguments=("--no-such-argument",)).__enter__()


def test_a_pack_that_is_not_linked_is_said_before_anything_starts(monkeypatch, tmp_path):
    (tmp_path / "custom_nodes").mkdir()
    monkeypatch.setattr(server_module, "comfyui_path", lambda: tmp_path)
    with pytest.raises(ServerError, match="make setup"):
        ComfyServer().__enter__()


@pytest.mark.long
def test_waiting_on_a_server_that_went_away_ends_with_an_error(tmp_path):
    with ComfyServer(home=tmp_path) as running:
        with ComfyClient(running.url, timeout=60) as other:
            os.kill(running.process.pid, signal.SIGKILL)
            with pytest.raises(ConnectionError, match="closed"):
                list(other.events("any"))
