"""Training on small recorded datasets: it learns, resumes, stops, keeps the best, and says what it can't use."""

import json
import math
import multiprocessing
import os
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from diffusion_probe.engine.core.files import locked
from diffusion_probe.probe_models.probe_file import load_probe
from diffusion_probe.training import report
from diffusion_probe.training.dataset.batches import Batches
from diffusion_probe.training.dataset.folder import Dataset
from diffusion_probe.training.dataset.projection import dataset_projection
from diffusion_probe.training.dataset.run_record import METADATA
from diffusion_probe.training.fitting import losses, probe_training, stage
from diffusion_probe.training.fitting.fit import Fit, Recipe
from diffusion_probe.training.fitting.held_out import default_moment, skill_of
from diffusion_probe.training.fitting.probe_training import train_probe
from diffusion_probe.training.fitting.unfinished import Unfinished
from diffusion_probe.training.metrics.validation import score_groups, within_by_moment
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from scipy.stats import spearmanr

from support.marks import some_long
from support.networks import SMALL

ROWS, CHANNELS = 6, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory, record):
    return record(tmp_path_factory.mktemp("dataset") / "data")


def recipe(kind="joint", **options):
    given = {"labels": ("reward", "other"), "steps": 40, "prompts": 6, "rows": ROWS, "network": SMALL[kind]}
    return Recipe(kind, **{**given, "rate": 3e-3, **options})


def quick(**options):
    """A recipe of the fastest network, for what does not depend on the network."""
    return recipe("activation ranker", others=0, **options)


# Losses -----------------------------------------------------------------------------------------


def test_the_listwise_loss_is_the_divergence_of_the_two_softmaxes():
    scores, labels, temperature = torch.tensor([[0.1, 0.7, -0.3]]), torch.tensor([[1.0, 0.0, 0.5]]), 0.4
    wanted, found = (np.exp(values.numpy()[0] / temperature) for values in (labels, scores))
    wanted, found = wanted / wanted.sum(), found / found.sum()
    expected = (wanted * np.log(wanted / found)).sum()
    assert float(losses.listwise(scores, labels, temperature)) == pytest.approx(expected, rel=1e-5)
    assert float(losses.listwise(labels + 3, labels, temperature)) == pytest.approx(0, abs=1e-6)


def test_alignment_is_least_where_each_group_lies_at_its_own_text():
    vectors = torch.eye(4)
    expected = -math.log(math.exp(5) / (math.exp(5) + 3))
    assert float(losses.alignment(vectors, vectors, 0.2)) == pytest.approx(expected, rel=1e-5)
    assert losses.alignment(vectors, vectors.roll(1, 0), 0.2) > losses.alignment(vectors, vectors, 0.2)


# Training ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", SMALL)
def test_each_kind_learns_what_its_input_shows_and_the_joint_one_the_labels_unit(kind, folder, tmp_path):
    trained = train_probe(folder, tmp_path / "probe.safetensors", recipe(kind, steps=80, others=0), command="a test")
    rho = within_by_moment(trained.scored)
    assert rho[0.2] > 0.8 and rho[0.2] > rho[0.1] - 0.1
    if kind == "joint":  # the others would need more steps for that
        scores, labels = trained.scored[0.2]
        assert abs(scores.mean() - labels.mean()) < 0.5 and 0.4 < scores.std() / labels.std() < 1.6
    assert trained.card.held_out["within_spearman"] == pytest.approx(rho[0.2])
    prompts = len(Dataset(folder).split()[0])
    assert (trained.card.prompts, trained.card.images) == (prompts, prompts * ROWS)


def test_the_file_scores_as_the_network_in_training_did(folder, tmp_path):
    path = tmp_path / "probe.safetensors"
    trained = train_probe(folder, path, recipe(steps=5))
    probe, dataset = load_probe(path), Dataset(folder)
    batches = Batches(dataset, dataset.split()[1], probe.needs, ("reward",))
    for percent, (scores, _) in score_groups(probe.network, batches, torch.device("cpu")).items():
        np.testing.assert_allclose(scores, trained.scored[percent][0], atol=1e-6)
    assert torch.equal(probe.projection, dataset_projection(folder))
    assert probe.card.blocks == ("double 0", "double 1") and probe.card.moments == ("10%", "20%")


def test_a_killed_training_goes_on_to_the_same_network(folder, tmp_path):
    dataset = Dataset(folder)
    runs = dataset.split()[0]
    whole = Fit(dataset, runs, recipe(steps=12), tmp_path / "whole.safetensors")
    whole.run()
    first = Fit(dataset, runs, recipe(steps=12), tmp_path / "parts.safetensors")
    first.stage.run(until=5)
    second = Fit(dataset, runs, recipe(steps=12), tmp_path / "parts.safetensors")
    assert second.run() == whole.stage.losses
    for a, b in zip(whole.averaged().parameters(), second.averaged().parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_an_interrupt_keeps_the_best_network_so_far(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(probe_training, "CHECK_EVERY", 5)

    def stop(progress):
        if len(progress.losses) == 13:
            raise KeyboardInterrupt

    path = tmp_path / "probe.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train_probe(folder, path, quick(), watch=stop)
    assert load_probe(path).card.kind == "activation ranker"
    trained = train_probe(folder, path, quick(steps=40))  # goes on from step 13
    assert len(trained.progress.losses) == 40 and list(trained.progress.checks)[:4] == [5, 10, 13, 15]


def left(folder):
    """Names of the files in a folder, without the lock, which stays."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def stopped_at(step):
    def stop(progress):
        if len(progress.losses) == step:
            raise KeyboardInterrupt

    return stop


def test_a_training_that_was_interrupted_late_goes_on_until_nothing_gets_better(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(probe_training, "CHECK_EVERY", 5)
    monkeypatch.setattr(probe_training, "PATIENCE", 2)
    monkeypatch.setattr(probe_training, "PATIENT_SHARE", 0.0)
    rho = iter([0.1, 0.2, 0.3, 0.31, 0.4, 0.5, 0.1, 0.1])
    monkeypatch.setattr(probe_training, "within_by_moment", lambda scored: {0.2: next(rho)})
    path = tmp_path / "probe.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train_probe(folder, path, quick(), watch=stopped_at(17))
    trained = train_probe(folder, path, quick())
    assert trained.progress.best_step == 25 and len(trained.progress.losses) == 35


def test_a_resumed_training_that_finds_nothing_better_leaves_the_best_of_before(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(probe_training, "CHECK_EVERY", 5)
    monkeypatch.setattr(probe_training, "PATIENCE", 3)
    monkeypatch.setattr(probe_training, "PATIENT_SHARE", 0.0)
    path, rho = tmp_path / "probe.safetensors", iter([0.5, 0.3, 0.2, 0.1, 0.1])
    monkeypatch.setattr(probe_training, "within_by_moment", lambda scored: {0.2: next(rho)})
    with pytest.raises(KeyboardInterrupt):
        train_probe(folder, path, quick(), watch=stopped_at(7))
    before = load_probe(path)
    trained = train_probe(folder, path, quick())
    assert trained.progress.best_step == 5 and len(trained.progress.losses) == 20
    for a, b in zip(before.network.parameters(), load_probe(path).network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_training_that_diverges_keeps_the_best_says_so_and_leaves_no_rest(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(probe_training, "CHECK_EVERY", 3)
    loss_of = Fit._loss
    monkeypatch.setattr(Fit, "_loss", lambda fit, step: loss_of(fit, step) * (math.nan if step == 4 else 1))
    path = tmp_path / "probe.safetensors"
    with pytest.raises(ValueError, match="diverged: after 5 steps .* The best network before that is kept"):
        train_probe(folder, path, quick())
    assert load_probe(path).card.kind == "activation ranker" and left(tmp_path) == [path.name]


@pytest.mark.parametrize("share, least", [(0.0, 12), (0.5, 30)])
def test_training_stops_when_nothing_gets_better(folder, tmp_path, monkeypatch, share, least):
    monkeypatch.setattr(probe_training, "CHECK_EVERY", 2)
    monkeypatch.setattr(probe_training, "PATIENT_SHARE", share)
    trained = train_probe(folder, tmp_path / "probe.safetensors", quick(steps=60, rate=0.0, matrix_rate=0.0))
    assert least <= len(trained.progress.losses) <= least + 4


def test_a_batch_that_does_not_fit_into_memory_is_made_smaller_and_said(folder, tmp_path, monkeypatch, caplog):
    dataset = Dataset(folder)
    fit = Fit(dataset, dataset.split()[0], recipe(steps=4), tmp_path / "probe.safetensors")
    draw = fit._draw

    def too_large(step):
        if fit.prompts > 3:
            raise torch.OutOfMemoryError("no memory")
        return draw(step)

    monkeypatch.setattr(fit, "_draw", too_large)
    assert len(fit.run()) == 4 and fit.prompts == 3
    assert "3 prompts per batch" in caplog.text


def test_a_search_may_expect_what_was_measured(folder, tmp_path):
    trained = train_probe(folder, tmp_path / "probe.safetensors", recipe(steps=5))
    dataset = Dataset(folder)
    skill = skill_of(trained.scored, dataset.split()[1], "here")
    assert skill.progress == (0.1, 0.2) and skill.source == "here"
    pairs = zip(*trained.scored[0.2], strict=True)
    expected = np.mean([np.corrcoef(scores, labels)[0, 1] for scores, labels in pairs])
    assert skill.correlation[1] == pytest.approx(expected, abs=1e-6)


def test_the_ranking_of_groups_is_that_of_scipy(folder, tmp_path):
    trained = train_probe(folder, tmp_path / "probe.safetensors", quick(steps=5))
    scores, labels = trained.scored[0.1]
    expected = np.mean([spearmanr(a, b).statistic for a, b in zip(scores, labels, strict=True)])
    assert within_by_moment(trained.scored)[0.1] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("when", ["on the way", "at the end"])
def test_a_full_disk_is_an_error_that_says_so_and_the_same_again_goes_on(folder, tmp_path, monkeypatch, when):
    monkeypatch.setattr(probe_training, "CHECK_EVERY", 5)
    path = tmp_path / "probe.safetensors"

    def full(*given):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patched:
        patched.setattr(probe_training, "save_probe", full)
        with pytest.raises(OSError, match="can't be written .*No space left on device.*goes on"):
            train_probe(folder, path, quick(steps=12), watch=stopped_at(7 if when == "on the way" else None))
    watched = []
    trained = train_probe(folder, path, quick(steps=12), watch=lambda progress: watched.append(len(progress.losses)))
    assert watched == (list(range(8, 13)) if when == "on the way" else [])
    assert len(trained.progress.losses) == 12 and load_probe(path).card.kind == "activation ranker"


# What can't be used -----------------------------------------------------------------------------


def test_one_prompt_is_too_few(tmp_path, record):
    with pytest.raises(ValueError, match="has 1 prompts, too few"):
        train_probe(record(tmp_path / "data", prompts=1), tmp_path / "probe.safetensors", recipe())


def test_one_seed_of_each_prompt_teaches_no_choice(tmp_path, record):
    data = record(tmp_path / "data", rows=1)
    with pytest.raises(ValueError, match="the same for all seeds of each prompt.*Record several seeds per prompt"):
        train_probe(data, tmp_path / "probe.safetensors", recipe(labels=("reward",)))


def test_labels_that_are_constant_within_prompts_teach_nothing(tmp_path, record):
    data = record(tmp_path / "data", labels={"reward": (0.5,) * ROWS})
    with pytest.raises(ValueError, match="the same for all seeds"):
        train_probe(data, tmp_path / "probe.safetensors", recipe(labels=("reward",)))


def test_a_label_that_was_not_recorded_is_named_with_those_that_were(folder, tmp_path):
    with pytest.raises(ValueError, match='no label "beauty".*reward'):
        train_probe(folder, tmp_path / "probe.safetensors", recipe(labels=("beauty",)))


def test_two_trainings_into_one_file_are_refused(folder, tmp_path):
    path = tmp_path / "probe.safetensors"
    with locked(path), pytest.raises(ValueError, match="another process is writing probe.safetensors"):
        train_probe(folder, path, quick())
    train_probe(folder, path, quick(steps=2))
    assert left(tmp_path) == [path.name]


def _train_into(path, held):
    with locked(path):
        held.set()
        signal.pause()


def test_a_lock_is_held_by_a_living_process_whatever_the_clock_and_by_no_dead_one(tmp_path, monkeypatch):
    path, processes = tmp_path / "probe.safetensors", multiprocessing.get_context("fork")
    held = processes.Event()
    process = processes.Process(target=_train_into, args=(path, held))
    process.start()
    assert held.wait(60)
    began = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: began(self) - 3600)  # a clock that was set
    with pytest.raises(ValueError, match="another process is writing probe.safetensors"), locked(path):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with locked(path):
        pass


def test_of_two_trainings_that_find_what_a_killed_one_left_one_goes_on(tmp_path, monkeypatch):
    """Both look before either takes it."""
    path, inside, refused = tmp_path / "probe.safetensors", [], []
    (tmp_path / ".probe.safetensors.lock").touch()
    looked, leaves, unlink = threading.Barrier(2), threading.Barrier(2), Path.unlink

    def unlinked(self, *given, **more):
        looked.wait(5)
        unlink(self, *given, **{**more, "missing_ok": True})

    monkeypatch.setattr(Path, "unlink", unlinked)

    def train():
        try:
            with locked(path):
                inside.append(1)
                leaves.wait(5)
        except ValueError:
            refused.append(1)
            leaves.wait(5)

    threads = [threading.Thread(target=train) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(inside), len(refused)) == (1, 1)


@pytest.mark.parametrize("torn", some_long(["checkpoint", "best", "both"], ["checkpoint", "best"]))
def test_a_training_whose_files_were_torn_goes_on_and_is_never_blocked(folder, tmp_path, monkeypatch, torn):
    monkeypatch.setattr(probe_training, "CHECK_EVERY", 3)
    monkeypatch.setattr(stage, "CHECKPOINT_EVERY", 3)
    small = recipe("activation ranker", steps=9, others=0)
    whole = train_probe(folder, tmp_path / "whole.safetensors", small)
    path = tmp_path / "probe.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train_probe(folder, path, small, watch=stopped_at(7))
    for name in ("checkpoint", "best"):
        if torn in (name, "both"):
            left = tmp_path / f".probe.{name}.safetensors"
            left.write_bytes(left.read_bytes()[:100])
    unfinished = Unfinished(path, Dataset(folder), small)
    assert unfinished.goes_on()
    watched = []
    trained = train_probe(folder, path, small, watch=lambda progress: watched.append(len(progress.losses)))
    assert watched[0] == (7 if torn != "best" else 8) and len(trained.progress.losses) == 9
    np.testing.assert_allclose(trained.scored[0.2][0], whole.scored[0.2][0], rtol=1e-4, atol=1e-5)


def test_names_and_labels_with_signs_of_formulas_are_drawn_as_they_are_written(folder, tmp_path):
    odd = r"$x^{$ \frac{ _" + "y" * 300
    train = record_labels(folder, tmp_path / "odd", odd)
    small = recipe("activation ranker", labels=(odd,), steps=2, others=0)
    trained = train_probe(train, tmp_path / "probe.safetensors", small)
    figure = report.training_report("$\\sum_{", trained, Dataset(train))
    assert report.pixels(figure).std() > 0
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert any(text.startswith(r"$x^{$ \frac{") for text in labels)


def record_labels(folder, to, label):
    """A copy of a dataset whose first label is called otherwise."""
    shutil.copytree(folder, to)
    for path in (to / "runs").iterdir():
        with safe_open(str(path), "pt") as file:
            run, tensors = json.loads(file.metadata()[METADATA]), {name: file.get_tensor(name) for name in file.keys()}
        run["labels"] = {label: run["labels"]["reward"], "other": run["labels"]["other"]}
        save_file(tensors, path, {METADATA: json.dumps(run)})
    return to


def test_the_default_moment_is_one_that_many_prompts_were_recorded_at():
    few, many = (np.zeros((2, 3)),) * 2, (np.zeros((9, 3)),) * 2
    assert default_moment({0.1: many, 0.16: many, 0.19: few, 0.4: many}) == 0.16
