"""Clients whose calls go to actors of a Ray cluster, with a stand-in for Ray; the real one is in test_ray.py."""

import sys
from types import SimpleNamespace

import pytest
from diffusion_probe.training import command
from diffusion_probe.training.client.server import PromptError
from diffusion_probe.training.fleet.ray_workers import RayConnector, connect_ray


class LostError(Exception):
    pass


class Method:
    def __init__(self, function):
        self.remote = function


class Actor:
    """An actor that answers as listed by name; an exception is raised when its answer is fetched."""

    def __init__(self, answers):
        self.answers, self.stopped = answers, False
        self.call = Method(lambda name, *given: self.answers.get(name, ("result", (name, *given))))
        self.put = Method(lambda name, content, folder: ("result", f"{folder}/{name}: {len(content)}"))
        self.events = Method(lambda prompt_id: self.answers["events"].pop(0))
        self.stop = Method(lambda: setattr(self, "stopped", True))


class FakeRay:
    """As much of Ray as is used."""

    exceptions = SimpleNamespace(RayError=LostError)

    def __init__(self, answers):
        self.actors, self.answers, self.killed = [], answers, []

    def cluster_resources(self):
        return {"CPU": 3.0}

    def remote(self, **needs):
        self.needs = needs

        def made(*given):
            self.actors.append(Actor(self.answers))
            return self.actors[-1]

        return lambda kind: SimpleNamespace(remote=made)

    def get(self, reference, timeout):
        if isinstance(reference, Exception):
            raise reference
        return reference

    def kill(self, actor):
        self.killed.append(actor)


def test_calls_go_to_the_actor_and_it_is_ended_at_last(tmp_path):
    ray = FakeRay({"events": [False, None, True]})
    (tmp_path / "projection.safetensors").write_bytes(b"123")
    with RayConnector(ray).connect(1.0) as client:
        assert ray.needs == {"num_gpus": 0, "num_cpus": 1, "max_restarts": 0}
        assert client.queue({"1": {}}) == ("queue", {"1": {}}) and client.outputs("a") == ("outputs", "a")
        path = tmp_path / "projection.safetensors"
        assert client.upload(path, "probe_data/a", "output") == "probe_data/a/projection.safetensors: 3"
        with pytest.raises(TimeoutError):
            list(client.events("a"))
        assert len(list(client.events("a"))) == 1
    assert ray.actors[0].stopped and ray.killed == ray.actors


def test_errors_of_prompts_come_through_and_a_lost_actor_is_a_lost_connection():
    details = {"node_errors": {"1": {}}}
    ray = FakeRay({"queue": ("prompt", ("refused", details, False)), "view": LostError("the node died"), "events": []})
    with RayConnector(ray).connect(1.0) as client:
        with pytest.raises(PromptError, match="refused") as refused:
            client.queue({})
        assert refused.value.details == details
        with pytest.raises(ConnectionError, match="the node died"):
            client.view({})
    ray.answers["waits"] = LostError("no room")
    with pytest.raises(ConnectionError, match="no room"), RayConnector(ray).connect(1.0):
        pass
    assert len(ray.killed) == 2


def test_the_comfyui_that_the_workflow_was_read_with_is_used_by_the_first_worker():
    ray = FakeRay({"object_info": ("result", {"KSampler": {}})})
    connector = RayConnector(ray)
    assert connector.object_info() == {"KSampler": {}}
    with connector.connect(1.0), connector.connect(1.0):
        assert len(ray.actors) == 2


def test_without_ray_or_a_folder_there_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match="Ray is not installed here. Install it with pip install"):
        connect_ray("auto")
    (tmp_path / "prompts.txt").write_text("a fox")
    given = ["record", "workflow.json", "--prompts", str(tmp_path / "prompts.txt"), "--ray", "auto"]
    with pytest.raises(SystemExit, match="--ray: name a folder here.*--out"):
        command.main(given)
    with pytest.raises(SystemExit, match="Ray is not installed here"):
        command.main([*given, "--out", str(tmp_path / "out")])
