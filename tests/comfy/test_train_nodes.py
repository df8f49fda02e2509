"""Train Probe and Evaluate Probe in process: names of files, what a user sees meanwhile, and what is refused."""

import math
import sys

import comfy.model_management
import comfy.utils
import folder_paths
import numpy as np
import pytest
import torch
from diffusion_probe.engine.core.files import locked
from diffusion_probe.nodes import probe_folder, train
from diffusion_probe.nodes.evaluate import EvaluateProbe
from diffusion_probe.nodes.probe_folder import FOLDER, new_probe_path, probe_names, probe_path
from diffusion_probe.nodes.probes import AttentionFocusProbe, LoadProbe
from diffusion_probe.nodes.train import TrainProbe
from diffusion_probe.training.fitting.recipe import recipe_for

from support.networks import SMALL


@pytest.fixture
def probes(tmp_path, monkeypatch):
    """An empty folder for probes, the only one that ComfyUI knows of; what is put out goes beside it."""
    folder = tmp_path / "models" / FOLDER
    folder.mkdir(parents=True)
    extensions = folder_paths.folder_names_and_paths[FOLDER][1]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, FOLDER, ([str(folder)], extensions))
    for name in ("output", "temp"):
        monkeypatch.setattr(folder_paths, f"get_{name}_directory", lambda name=name: str(tmp_path / name))
    quick = {"network": SMALL["joint"], "prompts": 4}
    monkeypatch.setattr(train, "recipe_for", lambda *given, **more: recipe_for(*given, **quick, **more))
    return folder


@pytest.fixture
def data(tmp_path, record):
    return record(tmp_path / "output" / "probe_data" / "mine", prompts=20)


@pytest.fixture
def shown(monkeypatch):
    """What goes to the browser: done, of how many, preview."""
    seen = []
    monkeypatch.setattr(
        comfy.utils,
        "PROGRESS_BAR_HOOK",
        lambda value, total, preview, node_id=None: seen.append((value, total, preview)),
    )
    return seen


@torch.inference_mode()  # as in ComfyUI
def trained(dataset="mine", name="my-probe", if_exists="next free name", labels="", steps=2, seed=0, device="cpu"):
    return TrainProbe.execute(dataset, "joint", name, if_exists, labels, steps, seed, device)


def test_a_probe_is_trained_shown_and_written_with_its_report(probes, data, shown):
    probe, picture, text = trained(steps=4).result
    assert (probe.name, probe.label, probe.card.family) == ("my-probe", "reward", "FLUX")
    assert "Train Probe" in probe.card.command and "my-probe.safetensors: joint probe for FLUX" in text
    assert picture.shape[0] == 1 and picture.shape[3] == 3 and 0 <= picture.min() < picture.max() <= 1
    assert (probes / "my-probe.png").exists() and probe_names()[0] == "my-probe.safetensors"
    assert shown[-1][:2] == (4, 4) and all(value <= total == 4 for value, total, _ in shown)
    kind, curve, size = next(preview for _, _, preview in shown if preview)
    assert kind == "JPEG" and np.asarray(curve).ndim == 3 and size > 0
    loaded = LoadProbe.execute("my-probe.safetensors")[0]
    for a, b in zip(probe.network.parameters(), loaded.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_training_leaves_the_random_numbers_of_others_alone(probes, data):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    trained()
    assert torch.equal(torch.rand(2), expected)


def test_a_file_is_replaced_only_if_the_user_says_so(probes, data):
    first, second = (trained(seed=seed).result[0].name for seed in (0, 1))
    assert (first, second) == ("my-probe", "my-probe-2")
    before = (probes / "my-probe.safetensors").read_bytes()
    assert trained(seed=2, if_exists="replace").result[0].name == "my-probe"
    assert (probes / "my-probe.safetensors").read_bytes() != before


def test_an_interrupt_keeps_the_best_so_far_says_so_and_the_same_again_goes_on(
    probes, data, shown, monkeypatch, caplog
):
    steps = []

    def interrupted():
        steps.append(1)
        if len(steps) == 3:
            raise comfy.model_management.InterruptProcessingException

    monkeypatch.setattr(comfy.model_management, "throw_exception_if_processing_interrupted", interrupted)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        trained(steps=5)
    assert "interrupted at step 3 of my-probe.safetensors. The best network so far is kept" in caplog.text
    assert LoadProbe.execute("my-probe.safetensors")[0].label == "reward"
    assert probe_names()[:1] == ["my-probe.safetensors"]  # and not what it goes on from
    shown.clear()
    assert trained(steps=5).result[0].name == "my-probe"
    assert shown[0][0] == 4  # three were done
    left = sorted(path.name for path in probes.iterdir())
    assert left == [".my-probe.safetensors.lock", "my-probe.png", "my-probe.safetensors"]


def test_who_stops_at_once_loses_no_file_that_would_have_been_replaced(probes, data, shown, monkeypatch, write_probe):
    write_probe(probes / "my-probe.safetensors")
    before, steps = (probes / "my-probe.safetensors").read_bytes(), []

    def interrupted():
        steps.append(1)
        if len(steps) == 3:
            raise comfy.model_management.InterruptProcessingException

    monkeypatch.setattr(comfy.model_management, "throw_exception_if_processing_interrupted", interrupted)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        trained(steps=5, if_exists="replace")
    assert (probes / "my-probe.safetensors").read_bytes() == before
    shown.clear()
    assert trained(steps=5, if_exists="replace").result[0].name == "my-probe"
    assert shown[0][0] == 4 and (probes / "my-probe.safetensors").read_bytes() != before


def test_another_training_does_not_touch_what_an_interrupted_one_left(probes, data, monkeypatch):
    def interrupted():
        raise comfy.model_management.InterruptProcessingException

    with monkeypatch.context() as patched:
        patched.setattr(comfy.model_management, "throw_exception_if_processing_interrupted", interrupted)
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            trained(steps=5)
    before = (probes / "my-probe.safetensors").read_bytes()
    assert trained(seed=1).result[0].name == "my-probe-2"
    assert (probes / "my-probe.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    "name",
    [
        "", "../faces", "/faces", "C:\\faces", "testbed/flux/joint", "a/../../b", "mine/", "mine\\", ".mine",
        "./testbed/flux/joint", ".//testbed/joint", "testbed\\joint", "TESTBED/joint", "a/./../testbed/joint",
        "a\0b", "a\nb", "a" * 230, "é" * 120,
    ],
)  # fmt: skip
def test_a_name_outside_of_the_folder_or_that_no_list_shows_is_refused(probes, data, name):
    with pytest.raises(ValueError, match="Train Probe: .* is no name for a probe"):
        trained(name=name)


def test_a_long_name_is_that_of_its_checkpoints_and_locks_too(probes, data):
    longest = "n" * (255 - len(".safetensors") - probe_folder.LONGER_BY + len(".safetensors"))
    assert trained(name=longest).result[0].name == longest
    trained(name=longest, seed=1)
    assert {len(path.name) for path in probes.iterdir() if not path.name.startswith(".")} <= set(range(256))


def test_a_dataset_or_probe_that_comes_over_a_link_is_looked_at_when_it_is_known(probes):
    """Before the run ComfyUI asks with None for it."""
    for fingerprint in (TrainProbe.fingerprint_inputs, EvaluateProbe.fingerprint_inputs):
        assert math.isnan(fingerprint(dataset=None))
    assert math.isnan(LoadProbe.fingerprint_inputs(name=None))
    assert math.isnan(LoadProbe.fingerprint_inputs(name="gone.safetensors"))


def test_a_name_may_lead_into_a_subfolder_and_end_as_a_file_does(probes):
    def no(path):
        return False

    assert new_probe_path("mine/faces.safetensors", False, no, no) == probes / "mine" / "faces.safetensors"


def test_probes_that_come_with_the_pack_are_listed_and_found(probes, tmp_path, monkeypatch, write_probe):
    monkeypatch.setattr(probe_folder, "PROBES", tmp_path / "nothing")
    assert probe_names() == []
    shipped = tmp_path / "shipped" / "flux" / "joint.safetensors"
    shipped.parent.mkdir(parents=True)
    write_probe(shipped)
    write_probe(probes / "own.safetensors")
    monkeypatch.setattr(probe_folder, "PROBES", tmp_path / "shipped")
    assert probe_names() == ["own.safetensors", "testbed/flux/joint.safetensors"]
    assert probe_path("testbed/flux/joint.safetensors") == shipped
    assert LoadProbe.execute("testbed/flux/joint.safetensors")[0].family == "FLUX"
    with pytest.raises(ValueError, match="leads out of"):
        probe_path("testbed/../flux/joint.safetensors")


WRONG = {
    "no dataset": ({"dataset": "none"}, "none holds no dataset"),
    "a dataset elsewhere": ({"dataset": "../mine"}, "is no name of a dataset"),
    "a name that no folder has": ({"dataset": "a\0b"}, r"\"a\\x00b\" is no name of a dataset"),
    "an unknown label": ({"labels": "beauty"}, 'no label "beauty".*it has reward, other'),
    "too many labels": ({"labels": "a,b,c,d"}, "at most 3 heads"),
    "no GPU": ({"device": "gpu"}, "ComfyUI uses no GPU"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_trained_is_said_by_the_node_and_nothing_is_written(wrong, probes, data):
    given, says = WRONG[wrong]
    with pytest.raises(ValueError, match=f"Train Probe: .*{says}"):
        trained(**given)
    assert list(probes.iterdir()) == []


def test_a_report_that_cannot_be_drawn_leaves_the_file_that_it_would_replace(probes, data, monkeypatch, write_probe):
    write_probe(probes / "my-probe.safetensors")
    before = (probes / "my-probe.safetensors").read_bytes()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ValueError, match="Train Probe: Matplotlib is not installed.*pip install -r requirements.txt"):
        trained(if_exists="replace")
    assert (probes / "my-probe.safetensors").read_bytes() == before


def test_two_trainings_into_one_file_are_refused(probes, data):
    path = probes / "my-probe.safetensors"
    with locked(path), pytest.raises(ValueError, match="Train Probe: Another process is writing my-probe"):
        trained()


def test_a_probe_without_training_cannot_be_evaluated(data):
    with pytest.raises(
        ValueError, match='Evaluate Probe: "attention focus" was not trained.*Load Probe or Train Probe'
    ):
        EvaluateProbe.execute(AttentionFocusProbe.execute()[0], "mine", 0, "cpu")


def test_an_evaluation_of_another_family_is_refused_by_name(probes, data, write_probe):
    write_probe(probes / "eyes.safetensors", family="SDXL")
    with pytest.raises(ValueError, match='Evaluate Probe: "eyes" was trained for SDXL.*recorded with FLUX'):
        EvaluateProbe.execute(LoadProbe.execute("eyes.safetensors")[0], "mine", 0, "cpu")


def test_a_dataset_that_grew_is_trained_on_again(probes, data, record):
    before = TrainProbe.fingerprint_inputs("mine")
    assert before == TrainProbe.fingerprint_inputs("mine")
    record(data, prompts=1, name="new")
    assert before != TrainProbe.fingerprint_inputs("mine") and TrainProbe.fingerprint_inputs("none") == ""


def test_an_evaluation_can_be_interrupted(probes, data, shown, monkeypatch):
    def interrupted():
        raise comfy.model_management.InterruptProcessingException

    probe = trained()[0]
    monkeypatch.setattr(comfy.model_management, "throw_exception_if_processing_interrupted", interrupted)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        EvaluateProbe.execute(probe, "mine", 0, "cpu")
