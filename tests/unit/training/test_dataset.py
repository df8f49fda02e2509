"""Recorded runs: nothing written is lost, nothing half-written is read, whoever else writes or is killed."""

import errno
import json
import math
import multiprocessing
import os
import re
import signal
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusion_probe.engine.core.features import Features, project_channels
from diffusion_probe.engine.core.files import locked, replace_file
from diffusion_probe.engine.core.prompt_words import Word
from diffusion_probe.training import report
from diffusion_probe.training.dataset import recorder, writing
from diffusion_probe.training.dataset.folder import Dataset, is_validation, run_key, run_path
from diffusion_probe.training.dataset.header import Header
from diffusion_probe.training.dataset.labels import Labels
from diffusion_probe.training.dataset.projection import (
    dataset_projection,
    fit_projection,
    keep_projection,
    reprojection,
)
from diffusion_probe.training.dataset.recorder import FinishedRun, dataset_size, record_run
from diffusion_probe.training.dataset.run_record import RecordedMoment, RunRecord
from diffusion_probe.training.dataset.writing import DatasetWriter, write_once
from diffusion_probe.training.fitting.checkpoints import save_checkpoint
from matplotlib.figure import Figure

SIDES = {"0.activation": 2, "0.denoised": 8, "0.latent": 8, "0.maps": 2, "final": 8}
GRIDS = tuple((name, side, side) for name, side in SIDES.items())
HEADER = Header("FLUX", ("double 0", "single 1"), 4, "a model", "ImageReward")
processes = multiprocessing.get_context("fork")


def record(prompt="a red fox", seeds=(1, 2), **changes):
    labels = {"ImageReward": tuple(0.5 + row for row in range(len(seeds)))}
    given = {"words": ("red", "fox"), "moments": (RecordedMoment(5, 0.8, 0.2),), "labels": labels}
    return RunRecord(run_key(prompt, seeds), prompt, seeds, 25, **{**given, **changes})


def tensors(seed=0, rows=2):
    latent = torch.randn(rows, 4, 8, 8, generator=torch.Generator().manual_seed(seed)).half()
    activation, maps = torch.zeros(rows, 4, 2, 2).half(), torch.zeros(rows, 2, 2, 2, 2).half()
    text, held = torch.zeros(2, 5).half(), {"0.activation": activation, "0.maps": maps}
    return {"text": text, "final": latent, "0.latent": latent.clone(), "0.denoised": latent.clone(), **held}


def features(seed=0, channels=12, **changes):
    generator = torch.Generator().manual_seed(seed)
    given = {
        "family": "FLUX", "moment": "20%", "step": 5, "sigma": 0.8, "percent": 0.2, "blocks": HEADER.blocks,
        "attention": torch.rand(2, 6, 4, 4, generator=generator).half(),
        "words": (Word("red", (1,)), Word("fox", (2, 3))),
        "denoised": torch.randn(4, 8, 8, generator=generator),
        "latent": torch.randn(4, 8, 8, generator=generator).half(),
        "activation": torch.randn(channels, 4, 4, generator=generator).half(),
        "text": torch.randn(6, 5, generator=generator).half(),
    }  # fmt: skip
    return Features(**{**given, **changes})


def finished(prompt="a red fox", seed=0, rows=2, channels=12, **changes):
    moments = [[features(10 * seed + row, channels, step=step) for row in range(rows)] for step in (3, 8)]
    given = {
        "seeds": tuple(range(rows)), "steps": 25, "moments": moments, "final": torch.zeros(rows, 4, 8, 8),
        "labels": {"ImageReward": tuple(0.1 * row for row in range(rows))},
    }  # fmt: skip
    given |= changes
    return FinishedRun(prompt, **{**given, "labels": Labels(given["labels"])})


def in_a_process(target, *arguments):
    process = processes.Process(target=target, args=arguments)
    process.start()
    return process


def unfinished(folder):
    """Names of the hidden files but for those that locks are held on, which stay."""
    return [path.name for path in folder.rglob(".*") if path.suffix != ".lock"]


def test_what_was_written_comes_back(tmp_path):
    writer = DatasetWriter(tmp_path, HEADER)
    written = {prompt: record(prompt) for prompt in ("a fox", "two cats")}
    for number, run in enumerate(written.values()):
        writer.add(run, tensors(number))
    dataset = Dataset(tmp_path)
    assert dataset.header == HEADER and not dataset.damaged
    assert {run.prompt: run for run in dataset.runs} == {
        prompt: replace(run, grids=GRIDS, file=f"{run.key}.safetensors") for prompt, run in written.items()
    }
    (cats,) = (run for run in dataset.runs if run.prompt == "two cats")
    assert torch.equal(dataset.load(cats)["0.latent"], tensors(1)["0.latent"])
    assert [json.loads(line)["prompt"] for path in tmp_path.glob("*.jsonl") for line in path.open()] == list(written)


def test_a_record_is_written_with_the_field_names_of_earlier_versions():
    earlier = {
        "format": 1, "key": "k", "prompt": "a red fox on a hill", "seeds": [7, 8], "steps": 25,
        "words": ["a", "red", "fox", "on", "a (2)", "hill"], "moments": [{"step": 5, "sigma": 0.8, "percent": 0.2}],
        "labels": {"truth": [0.5, 1.0]}, "others": {"red fox": [0.25, 0.5], "a cat": [0.0, 0.0]},
        "parts": {"red fox": [1, 2]}, "settings": {"half": True},
    }  # fmt: skip
    run = RunRecord.from_json(json.dumps(earlier))
    assert run.phrases == {"red fox": (1, 2)} and run.others["a cat"] == (0.0, 0.0)
    assert json.loads(run.to_json()) == earlier


def _write_until_half(folder, done):
    writer = DatasetWriter(folder, HEADER)
    for number in range(3):
        writer.add(record(f"prompt {number}"), tensors(number))

    def half(path, content):
        path.write_bytes(content[: len(content) // 2])
        done.set()
        signal.pause()

    writing._write = half
    writer.add(record("prompt 3"), tensors(3))


def test_a_killed_process_loses_the_run_in_flight_and_nothing_else(tmp_path):
    in_flight = processes.Event()
    process = in_a_process(_write_until_half, tmp_path, in_flight)
    assert in_flight.wait(60)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert len(unfinished(tmp_path)) == 1, "it was killed in the middle of a file"
    dataset = Dataset(tmp_path)
    assert sorted(run.prompt for run in dataset.runs) == ["prompt 0", "prompt 1", "prompt 2"] and not dataset.damaged
    writer = DatasetWriter(tmp_path, HEADER)
    assert [run_path(tmp_path, record(f"prompt {number}").key).exists() for number in range(4)] == [
        True,
        True,
        True,
        False,
    ]
    writer.add(record("prompt 3"), tensors(3))
    assert len(Dataset(tmp_path).runs) == 4


def test_what_a_killed_process_left_is_removed_an_hour_later(tmp_path):
    DatasetWriter(tmp_path, HEADER)
    old, new = tmp_path / "runs" / ".old.safetensors", tmp_path / "runs" / ".new.safetensors"
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    DatasetWriter(tmp_path, HEADER)
    assert not old.exists() and new.exists()


def test_another_model_of_the_family_is_said_and_recorded(tmp_path, caplog):
    DatasetWriter(tmp_path, HEADER).add(record("first"), tensors())
    DatasetWriter(tmp_path, replace(HEADER, model="")).add(record("second"), tensors())
    assert not caplog.text
    DatasetWriter(tmp_path, replace(HEADER, model="a fine-tune")).add(record("third"), tensors())
    assert "was begun with a model, and this run has a fine-tune" in caplog.text and len(Dataset(tmp_path).runs) == 3


def test_hidden_files_of_the_user_stay(tmp_path):
    DatasetWriter(tmp_path, HEADER)
    own = [tmp_path / ".gitattributes", tmp_path / "runs" / ".gitignore", tmp_path / ".git"]
    for path in own[:2]:
        path.write_text("*.safetensors")
    own[2].mkdir()
    for path in own:
        os.utime(path, (0, 0))
    DatasetWriter(tmp_path, HEADER).add(record(), tensors())
    assert all(path.exists() for path in own) and len(Dataset(tmp_path).runs) == 1


def test_what_another_process_finishes_meanwhile_stops_no_recording(tmp_path, monkeypatch):
    DatasetWriter(tmp_path, HEADER)
    others = tmp_path / "runs" / ".other.safetensors"
    glob = type(tmp_path).glob
    # Listed, and renamed before anyone looks at it.
    monkeypatch.setattr(type(tmp_path), "glob", lambda path, *pattern: [*glob(path, *pattern), others])
    DatasetWriter(tmp_path, HEADER)


def test_a_list_that_ends_in_half_a_line_goes_on_with_whole_ones(tmp_path):
    DatasetWriter(tmp_path, HEADER).add(record("first"), tensors())
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes() + b'{"key": "cut o')
    DatasetWriter(tmp_path, HEADER).add(record("second"), tensors())
    lines = path.read_text().splitlines()
    assert [json.loads(line)["prompt"] for line in (lines[0], lines[2])] == ["first", "second"]
    assert len(Dataset(tmp_path).runs) == 2


def _write_all(folder, started):
    started.wait()
    rows = torch.randn(3, 12, 4, 4, generator=torch.Generator().manual_seed(os.getpid()))
    projection = keep_projection(folder, fit_projection(rows))
    writer = DatasetWriter(folder, HEADER)
    for number in range(20):
        writer.add(record(f"prompt {number}"), tensors(number))
    (folder / f"{os.getpid()}.sum").write_text(str(projection.sum().item()))


def test_two_processes_at_once_write_one_whole_dataset(tmp_path):
    started = processes.Barrier(2)
    both = [in_a_process(_write_all, tmp_path, started) for _ in range(2)]
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    dataset = Dataset(tmp_path)
    assert len(dataset.runs) == 20 and not dataset.damaged and not unfinished(tmp_path)
    assert all(
        torch.equal(dataset.load(run)["0.latent"], tensors(int(run.prompt[7:]))["0.latent"]) for run in dataset.runs
    )
    assert len({path.read_text() for path in tmp_path.glob("*.sum")}) == 1, "both work with one projection"


MANY = tuple(range(128))
"""Seeds of a run that takes much of a small disk."""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting takes root; the test below simulates a full disk everywhere")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_clear_error_and_all_before_is_intact(small_disk):
    writer = DatasetWriter(small_disk / "data", HEADER)
    written = []
    with pytest.raises(OSError, match="the disk is full. Everything recorded before is intact in .*; make room"):
        for number in range(100):
            writer.add(record(f"prompt {number}", MANY), tensors(number, rows=128))
            written.append(number)
    dataset = Dataset(small_disk / "data")
    assert len(written) > 3 and len(dataset.runs) == len(written) and not dataset.damaged
    assert not unfinished(small_disk), "half a file takes no room"
    assert all(len(dataset.load(run)["0.latent"]) == 128 for run in dataset.runs)
    with pytest.raises(OSError, match="the disk is full"):
        DatasetWriter(small_disk / "other", HEADER).add(record(), tensors(rows=2048))
    run_path(small_disk / "data", dataset.runs[0].key).unlink()
    writer.add(dataset.runs[0], tensors(rows=128))
    assert len(Dataset(small_disk / "data").runs) == len(written)


def test_a_disk_that_fills_up_in_the_middle_of_a_file_leaves_nothing_of_it(tmp_path, monkeypatch):
    writer = DatasetWriter(tmp_path, HEADER)
    writer.add(record("before"), tensors())

    def full(path, content):
        path.write_bytes(content[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(writing, "_write", full)
        with pytest.raises(OSError, match="the disk is full"):
            writer.add(record("in between"), tensors())
    assert not unfinished(tmp_path) and [run.prompt for run in Dataset(tmp_path).runs] == ["before"]
    writer.add(record("in between"), tensors())
    assert len(Dataset(tmp_path).runs) == 2


def test_of_many_that_write_a_file_once_one_is_first(tmp_path):
    path, start, first = tmp_path / "file", threading.Barrier(8), []

    def write(number):
        start.wait()
        if write_once(path, str(number).encode() * 1000):
            first.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() == str(*first) * 1000 and not unfinished(tmp_path)


def _hold(path, held):
    with locked(path):
        held.set()
        signal.pause()


def test_a_lock_counts_as_long_as_its_process_lives_and_not_after_it_was_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "LOCK_SECONDS", 0.2)
    held = processes.Event()
    process = in_a_process(_hold, tmp_path / "file", held)
    assert held.wait(60)
    with pytest.raises(ValueError, match="another process is writing file. Wait until it ends"):
        write_once(tmp_path / "file", b"1")
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert write_once(tmp_path / "file", b"1")


@pytest.fixture
def three(tmp_path):
    """A dataset of three runs and their files, sorted."""
    for number in range(3):
        DatasetWriter(tmp_path, HEADER).add(record(f"prompt {number}"), tensors(number))
    return tmp_path, sorted((tmp_path / "runs").glob("*.safetensors"))


def _gone(path):
    path.unlink()


def _cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def _empty(path):
    path.write_bytes(b"")


def _foreign(path):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, path)


def _newer(path):
    data = path.read_bytes()
    path.write_bytes(data.replace(b'\\"format\\": 1,', b'\\"format\\": 9,'))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_gone, "it is listed, but not there"),
        (_cut, "(?i)incomplete|header|buffer"),
        (_empty, "(?i)header"),
        (_foreign, "no recorded run"),
        (_newer, "newer format than 1; update the pack"),
    ],
)
def test_a_damaged_run_is_named_and_the_others_are_read(three, caplog, damage, says):
    folder, files = three
    damage(files[1])
    dataset = Dataset(folder)
    assert [run.key for run in dataset.runs] == [files[0].stem, files[2].stem]
    ((name, why),) = dataset.damaged.items()
    assert name == files[1].name and re.search(says, why), why
    assert "1 of 3 recorded runs can't be used and are left out" in caplog.text and files[1].name in caplog.text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "holds no dataset: dataset.json isn't there"),
        ("{", "dataset.json is damaged"),
        ('{"format": 1}', "dataset.json is damaged"),
        ("[]", "dataset.json is damaged"),
        ('{"format": 9, "blocks": []}', "of a newer format than 1. Update the pack"),
        ('{"format": 1, "family": "FLUX", "blocks": [], "activation_channels": 4}', "holds no run that can be used"),
    ],
)
def test_a_folder_without_a_readable_dataset_is_one_clear_error(tmp_path, content, says):
    if content is not None:
        (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(ValueError, match=says):
        Dataset(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"family": "SDXL"}, "recorded with family FLUX, and this run has SDXL"),
        ({"blocks": ("double 0",)}, "recorded with blocks"),
        ({"activation_channels": 48}, "recorded with activation channels 4, and this run has 48"),
        ({"label": "CLIPScore"}, "recorded with label ImageReward, and this run has CLIPScore"),
    ],
)
def test_runs_of_another_kind_are_refused_with_what_differs(three, change, says):
    with pytest.raises(ValueError, match=f"{says}.*record into another folder"):
        DatasetWriter(three[0], replace(HEADER, **change))
    assert len(Dataset(three[0]).runs) == 3


def test_validation_is_chosen_by_the_prompts_content_alone(tmp_path):
    prompts = [f"{number} foxes" for number in range(2000)]
    chosen = {prompt for prompt in prompts if is_validation(prompt)}
    assert 0.08 < len(chosen) / len(prompts) < 0.12
    writer = DatasetWriter(tmp_path, HEADER)
    for prompt in reversed(prompts[:40]):
        for seeds in ((1, 2), (3, 4)):
            writer.add(record(prompt, seeds), tensors(rows=len(seeds)))
    training, validation = Dataset(tmp_path).split()
    assert {run.prompt for run in validation} == chosen & set(prompts[:40]) != set()
    assert len(training) + len(validation) == 80 and not {run.prompt for run in training} & chosen


def test_the_projection_gives_white_principal_axes_whatever_the_order_of_rows():
    mixing = torch.randn(20, 20, generator=torch.Generator().manual_seed(1))
    rows = torch.einsum("ij,rjhw->rihw", mixing, torch.randn(40, 20, 5, 6, generator=torch.Generator().manual_seed(0)))
    projection = fit_projection(rows, 6)
    assert torch.allclose(projection, fit_projection(rows[torch.randperm(40)], 6), atol=1e-4)
    tokens = rows.movedim(1, -1).flatten(0, -2).double()
    kept = tokens @ projection.double().T
    assert torch.allclose(torch.cov(kept.T), torch.eye(6, dtype=torch.double), atol=1e-3)
    variance = torch.linalg.svdvals(tokens - tokens.mean(0)) ** 2 / (len(tokens) - 1)
    assert torch.allclose(1 / projection.norm(dim=1).double() ** 2, variance[:6], rtol=1e-3)


def test_activations_of_one_projection_become_those_of_another_up_to_what_it_lacks():
    generator = torch.Generator().manual_seed(5)
    activations = torch.randn(7, 12, generator=generator)
    kept, wanted = (torch.randn(axes, 12, generator=generator) for axes in (12, 4))
    matrix, share = reprojection(kept, wanted)
    assert torch.allclose(activations @ kept.T @ matrix.T, activations @ wanted.T, atol=1e-3) and abs(share - 1) < 1e-6
    unit = torch.eye(12)
    matrix, share = reprojection(unit[:6] * 3, unit[3:9])
    assert torch.allclose(matrix @ (unit[:6] * 3), torch.cat([unit[3:6], torch.zeros(3, 12)]), atol=1e-6)
    assert share == pytest.approx(0.5)
    with pytest.raises(ValueError, match="12 channels, and the other for 5"):
        reprojection(kept, torch.ones(3, 5))


def test_a_run_is_recorded_with_the_datasets_projection_as_a_matrix_product(tmp_path):
    first, second = finished("a fox"), finished("a cat", seed=1)
    record_run(tmp_path, "first", first)
    record_run(tmp_path, "second", second)
    projection, dataset = dataset_projection(tmp_path), Dataset(tmp_path)
    assert projection.shape == (12, 12) and dataset.header.label == "ImageReward"
    for run, given in zip(dataset.runs, (first, second), strict=True):
        held = dataset.load(run)
        for number, rows in enumerate(given.moments):
            for row, activation in zip(rows, held[f"{number}.activation"], strict=True):
                explicit = torch.stack(
                    [sum(weight[c] * row.activation[c].float() for c in range(12)) for weight in projection]
                )
                assert (activation - explicit).abs().max() < 1e-2 and activation.dtype == torch.float16
            maps = torch.stack([row.attention.float() for row in rows])
            assert torch.allclose(held[f"{number}.maps"][:, :, 1].float(), maps[:, :, 2:4].sum(2), atol=1e-3)
        assert [moment.step for moment in run.moments] == [3, 8] and run.words == ("red", "fox")
        assert torch.allclose(held["text"][1], given.moments[0][0].text[2:4].float().mean(0).half())


def test_project_channels_takes_any_leading_axes():
    images, projection = torch.randn(2, 3, 5, 4, 6), torch.randn(7, 5)
    assert torch.allclose(
        project_channels(images, projection)[1, 2, :, 3, 5], projection @ images[1, 2, :, 3, 5], atol=1e-5
    )


def test_a_projection_that_is_gone_or_damaged_or_of_another_width_is_refused(tmp_path):
    record_run(tmp_path, "first", finished())
    with pytest.raises(ValueError, match="recorded with a model of width 12, and this one has 16.*another folder"):
        record_run(tmp_path, "second", finished("a cat", channels=16))
    path = tmp_path / "projection.safetensors"
    _cut(path)
    with pytest.raises(ValueError, match="projection.safetensors is damaged .*Copy it again"):
        record_run(tmp_path, "second", finished("a cat"))
    path.unlink()
    with pytest.raises(ValueError, match="projection.safetensors is missing.*Copy it again"):
        record_run(tmp_path, "second", finished("a cat"))
    assert not path.exists() and len(Dataset(tmp_path).runs) == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"labels": {"ImageReward": (0.1, float("nan"))}}, r"ImageReward gave no number for images \[1\].*nothing"),
        ({"labels": {"ImageReward": (float("inf"), 0.1)}}, r"no number for images \[0\]"),
        ({"labels": {"ImageReward": (0.1,)}}, "1 images for 2 rows of the latent. Decode the same latent"),
        ({"final": torch.full((2, 4, 8, 8), float("nan"))}, "the model gave NaN or infinity.*bf16 or fp32"),
        ({"moments": [[features(), features(1, denoised=torch.full((4, 8, 8), torch.inf))]]}, "NaN or infinity"),
    ],
)
def test_what_is_no_number_is_refused_before_anything_is_written(tmp_path, changes, says):
    with pytest.raises(ValueError, match=says):
        record_run(tmp_path / "data", "first", finished(**changes))
    assert not (tmp_path / "data").exists()


TOO_LARGE = {
    "x0": {"moments": [[features(), features(1, denoised=torch.full((4, 8, 8), 7e4))]]},
    "finished latents": {"final": torch.full((2, 4, 8, 8), -1e6)},
    "an activation with a large mean": {
        "moments": [[features(row, activation=60_000 + torch.randn(12, 4, 4).clamp(-1, 1)) for row in range(2)]]
    },
}


@pytest.mark.parametrize("kind", TOO_LARGE)
def test_what_half_precision_does_not_hold_is_refused_before_anything_is_written(tmp_path, kind):
    """An activation's projection divides by its deviation: a large mean may make it too large."""
    with pytest.raises(ValueError, match=r"larger than half precision holds.*so nothing of it was recorded"):
        record_run(tmp_path / "data", "first", finished(**TOO_LARGE[kind]))
    assert not (tmp_path / "data").exists()
    record_run(tmp_path / "data", "second", finished())
    before = sorted((tmp_path / "data").rglob("*"))
    with pytest.raises(ValueError, match="nothing of it was recorded"):
        record_run(tmp_path / "data", "third", finished("a cat", **TOO_LARGE[kind]))
    assert sorted((tmp_path / "data").rglob("*")) == before and len(Dataset(tmp_path / "data").runs) == 1


def test_what_lies_just_within_half_precision_comes_back(tmp_path):
    record_run(tmp_path, "first", finished(final=torch.full((2, 4, 8, 8), 65504.0)))
    dataset = Dataset(tmp_path)
    assert (dataset.load(dataset.runs[0])["final"] == 65504).all()


def test_settings_that_json_does_not_know_are_kept_as_text(tmp_path):
    record_run(tmp_path, "first", finished(settings={"workflow": {"1": {"inputs": {"cfg": float("nan")}}}}))
    (run,) = Dataset(tmp_path).runs
    assert run.settings == {"workflow": {"1": {"inputs": {"cfg": "nan"}}}}


@pytest.mark.parametrize("changes", [{"labels": {"\ud800": (0.1, 0.2)}}, {"seeds": (-1, 2)}, {"steps": 0}])
def test_a_run_that_no_reader_would_take_is_not_written(tmp_path, changes):
    with pytest.raises(ValueError, match="nothing of this run was recorded: its record has a wrong value for"):
        record_run(tmp_path / "data", "first", finished(**changes))
    assert not (tmp_path / "data").exists()


@pytest.fixture
def synced(monkeypatch):
    """What is put on the disk, in order: files and folders by name, and renames."""
    done, sync, replace_ = [], os.fsync, os.replace

    def fsync(number):
        done.append(("sync", Path(os.readlink(f"/proc/self/fd/{number}")).name))
        sync(number)

    def replaced(source, target):
        done.append(("rename", Path(target).name))
        replace_(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replaced)
    return done


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are read from /proc")
def test_every_file_is_on_the_disk_before_it_gets_its_name_and_its_folder_after(tmp_path, synced, write_probe):
    def check(path, write):
        synced.clear()
        write(path)
        at = synced.index(("rename", path.name))
        assert synced[at - 1][0] == "sync" and synced[at - 1][1].startswith(f".{path.name}.")
        assert ("sync", path.parent.name) in synced[at + 1 :] and not unfinished(path.parent)

    check(tmp_path / "any.txt", lambda path: replace_file(path, lambda to: to.write_text("text")))
    check(tmp_path / "probe.safetensors", write_probe)
    check(tmp_path / "some.checkpoint.safetensors", lambda path: save_checkpoint(path, tensors(), {"a": "b"}))
    check(tmp_path / "report.png", lambda path: report.save(Figure(), path))
    writer = DatasetWriter(tmp_path / "data", HEADER)
    run = record()
    check(run_path(tmp_path / "data", run.key), lambda path: writer.add(run, tensors()))


def test_a_write_that_fails_leaves_the_file_that_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")

    def fails(to):
        to.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        replace_file(path, fails)
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("words", "rows"), [(40, 8), (40, 4), (12, 1)])
def test_a_sample_and_moment_of_flux_at_1024_takes_at_most_400_kb(tmp_path, words, rows):
    """By the sizes that capture gives: FLUX.1-dev's 19 + 38 blocks, 128 x 128 latents, T5's 4096 channels."""
    row = Features(
        family="FLUX", moment="20%", step=5, sigma=0.8, percent=0.2, blocks=tuple(f"double {n}" for n in range(10)),
        attention=torch.rand(10, 2 * words, 16, 16).half(),
        words=tuple(Word(f"word {n}", (2 * n, 2 * n + 1)) for n in range(words)),
        denoised=torch.randn(16, 128, 128), latent=torch.randn(16, 32, 32).half(),
        activation=torch.randn(96, 32, 32).half(), text=torch.randn(2 * words, 4096).half(),
    )  # fmt: skip
    moments = [[replace(row, step=step)] * rows for step in (2, 5, 10, 15)]
    run = finished(rows=rows, moments=moments, final=torch.randn(rows, 16, 128, 128))
    record_run(tmp_path, "key", run)
    held = Dataset(tmp_path).load(Dataset(tmp_path).runs[0])
    assert held["0.activation"].shape == (rows, 48, 32, 32) and held["0.maps"].shape == (rows, 10, words, 16, 16)
    assert dataset_size(tmp_path, "key")["run_bytes"] / (rows * 4) <= 400_000


def test_runs_that_are_added_to_a_large_dataset_are_counted_without_listing_it(tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    runs.mkdir()
    sizes = {}
    for number in range(5):
        file = runs / f"key{number}.safetensors"
        file.write_bytes(b"x" * (10 + number))
        os.utime(file, ns=(number, number))
        sizes[number] = dataset_size(tmp_path, f"key{number}")
        if number == 0:
            known = recorder._counted[tmp_path]
            known.until = math.inf  # as after a long listing
            monkeypatch.setattr(Path, "glob", None)
    assert [size["runs"] for size in sizes.values()] == [1, 2, 3, 4, 5]
    assert dataset_size(tmp_path, "key2")["runs"] == 5, "a run that was there before is not counted again"
    assert sizes[4]["bytes"] == sum(range(10, 15)) and sizes[4]["run_bytes"] == 14
