"""Evaluating a probe on recorded data: the protocol's figures, on prompts that it did not learn from, and no others."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusion_probe.engine.core.features import DENOISED
from diffusion_probe.probe_models.probe_card import ProbeCard
from diffusion_probe.probe_models.probe_file import LearnedProbe, load_probe
from diffusion_probe.training import command, report
from diffusion_probe.training.dataset.folder import Dataset, is_validation, prompt_digest
from diffusion_probe.training.dataset.projection import keep_projection
from diffusion_probe.training.dataset.run_record import METADATA
from diffusion_probe.training.dataset.writing import PROJECTION
from diffusion_probe.training.evaluation import evaluate_probe, moment_rows
from diffusion_probe.training.fitting.fit import Fit
from diffusion_probe.training.fitting.probe_training import Progress, train_probe
from diffusion_probe.training.fitting.recipe import recipe_for
from diffusion_probe.training.fitting.unfinished import Unfinished
from safetensors import safe_open
from safetensors.torch import save_file
from scipy.stats import kendalltau, spearmanr

from support.networks import SMALL
from support.recorded import RAW

ROWS, JOINT = 6, SMALL["joint"]


class MeanOfX0(torch.nn.Module):
    """Sees of the synthetic data what its label is made of."""

    needs = frozenset({DENOISED})

    def forward(self, inputs):
        return inputs.denoised.mean((1, 2, 3))[:, None]


def probe(prompts=frozenset(), **changes):
    given = {
        "kind": "attention cnn",
        "family": "FLUX",
        "blocks": ("double 1",),
        "moments": (),
        "label": "reward",
        "heads": ("reward",),
        "network": {},
    }
    return LearnedProbe("eyes", ProbeCard(**{**given, **changes}), MeanOfX0(), prompts=prompts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, record):
    return record(tmp_path_factory.mktemp("dataset") / "data", prompts=30)


def by_probe(rows, percent):
    return {row["probe"]: row for row in rows if row["percent"] == percent}


def test_the_table_holds_the_protocols_figures_of_the_scores_that_the_network_gives(folder):
    dataset, found = Dataset(folder), evaluate_probe(probe(), folder)
    truth, scores = [], []
    for run in dataset.runs:
        truth.append(run.labels["reward"])
        scores.append(dataset.load(run)["1.denoised"].float().mean((1, 2, 3)).numpy())
    expected = np.mean([spearmanr(a, b).statistic for a, b in zip(scores, truth, strict=True)])
    row = by_probe(found.rows, 0.2)["eyes"]
    assert row["within_spearman"] == pytest.approx(expected, abs=1e-9) and row["prompts"] == 30
    assert row["within_ci"][0] < expected < row["within_ci"][1]
    assert row["ktc"] == pytest.approx(kendalltau(np.ravel(scores), np.ravel(truth)).statistic, abs=1e-3)  # ties


def test_every_moment_has_the_probe_beside_every_baseline(folder):
    found = evaluate_probe(probe(), folder)
    assert [(row["moment"], row["probe"]) for row in found.rows] == [
        (moment, name) for moment in ("10%", "20%") for name in ("eyes", "random", "text-only", "oracle", "best-of-n")
    ]
    at = by_probe(found.rows, 0.2)
    assert at["oracle"]["within_spearman"] == pytest.approx(1) and at["oracle"]["oracle_share"] == pytest.approx(1)
    assert abs(at["random"]["within_spearman"]) < 0.3 and at["best-of-n"]["within_spearman"] is None
    # 6 rows cut after a fifth, one of which goes on, cost as much as two images.
    assert at["best-of-n"]["n"] == pytest.approx((6 * 0.2 + 0.8), abs=1e-9)
    json.dumps(found.to_json(), allow_nan=False)


def test_text_only_knows_no_rows_own_label_and_is_chance_within_prompts():
    generator = np.random.default_rng(0)
    labels = generator.normal(size=(60, 4)) + 3 * generator.normal(size=(60, 1))
    row = by_probe(moment_rows({0.2: (labels, labels)}, {0.2: 0.2}, "eyes"), 0.2)["text-only"]
    others = (labels.sum(1, keepdims=True) - labels) / 3
    assert row["srcc"] == pytest.approx(spearmanr(others.ravel(), labels.ravel()).statistic, abs=1e-9)
    assert row["srcc"] > 0.7 and abs(row["within_spearman"]) < 0.15 and row["within_ci"][0] < 0 < row["within_ci"][1]


def test_prompts_that_a_probe_was_trained_on_are_left_out(folder, tmp_path):
    dataset = Dataset(folder)
    trained = train_probe(folder, tmp_path / "p.safetensors", recipe_for(dataset, "joint", steps=2, network=JOINT))
    learnt = load_probe(tmp_path / "p.safetensors")
    assert learnt.prompts == {prompt_digest(run.prompt) for run in dataset.split()[0]}
    found = evaluate_probe(learnt, folder)
    held_out = sum(is_validation(run.prompt) for run in dataset.runs)
    assert {row["prompts"] for row in found.rows} == {held_out} and held_out < 10
    assert f"on {held_out} prompts of the dataset that it was not trained on. They decided when" in found.which
    np.testing.assert_allclose(found.scored[0.2][0], trained.scored[0.2][0], atol=1e-6)


def test_of_another_dataset_all_prompts_count(folder, tmp_path, record):
    other = record(tmp_path / "other", prompts=5, name="another")
    learnt = probe(frozenset(prompt_digest(run.prompt) for run in Dataset(folder).runs))
    assert evaluate_probe(learnt, other).which == "on 5 prompts of the dataset, none of which it was trained on."
    with pytest.raises(ValueError, match='"eyes" was trained on every prompt of the dataset data'):
        evaluate_probe(learnt, folder)


def test_of_a_file_that_does_not_tell_its_prompts_only_the_validation_split_counts(folder):
    found = evaluate_probe(probe(None), folder)
    assert found.rows[0]["prompts"] == sum(is_validation(f"prompt {n}") for n in range(30))
    assert "doesn't say which prompts it was trained on" in found.which


WRONG = {
    "another family": ({"family": "SDXL"}, "was trained for SDXL, and the dataset data was recorded with FLUX"),
    "another model": ({"blocks": ("single 7",)}, "reads the attention of single 7, and the dataset data holds"),
    "another label": ({"label": "beauty"}, 'no label "beauty".*it has reward, other'),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_dataset_that_does_not_fit_the_probe_is_refused(wrong, folder):
    changes, says = WRONG[wrong]
    with pytest.raises(ValueError, match=says):
        evaluate_probe(probe(**changes), folder)


def joint_and_other(folder, tmp_path, record, axes):
    """A probe, and a dataset of other prompts that kept some axes of its own of the activations."""
    path, other = tmp_path / "p.safetensors", tmp_path / "other"
    train_probe(folder, path, recipe_for(Dataset(folder), "joint", steps=1, network=JOINT))
    other.mkdir()
    generator = torch.Generator().manual_seed(3)
    keep_projection(other, torch.randn(axes, RAW, generator=generator))
    return load_probe(path), record(other, prompts=4, seed=9, name="another")


def test_activations_that_were_shortened_in_another_way_are_computed_and_it_is_said(folder, tmp_path, record):
    joint, other = joint_and_other(folder, tmp_path, record, axes=RAW)
    found = evaluate_probe(joint, other)
    assert "in another way than that of the training; 100% of what the probe reads is in them" in found.text()


def test_a_dataset_that_keeps_too_little_of_the_activations_is_refused(folder, tmp_path, record):
    joint, other = joint_and_other(folder, tmp_path, record, axes=2)
    with pytest.raises(ValueError, match=r"they hold \d+% of what it reads. To .*copy projection.safetensors"):
        evaluate_probe(joint, other)


def test_a_probe_can_be_measured_on_a_dataset_with_the_projection_of_its_training(folder, tmp_path, record):
    path, other = tmp_path / "p.safetensors", tmp_path / "other"
    train_probe(folder, path, recipe_for(Dataset(folder), "joint", steps=1, network=JOINT))
    other.mkdir()
    (other / PROJECTION).write_bytes((folder / PROJECTION).read_bytes())
    record(other, prompts=4, seed=9, name="another")
    assert evaluate_probe(load_probe(path), other).rows[0]["prompts"] == 4


def single_seeds(folder, every=1, rows=ROWS):
    """Cuts every n-th run of a dataset into runs of one row each, as batches of one are; its first rows only."""
    dataset = Dataset(folder)
    for run in dataset.runs[::every]:
        tensors = dataset.load(run)
        (folder / "runs" / f"{run.key}.safetensors").unlink()
        for row in range(rows):
            part = replace(
                run,
                key=f"{run.key[:-1]}{row}",
                seeds=run.seeds[row : row + 1],
                labels={name: values[row : row + 1] for name, values in run.labels.items()},
                others={name: values[row : row + 1] for name, values in run.others.items()},
            )
            own = {name: value if name == "text" else value[row : row + 1] for name, value in tensors.items()}
            metadata = {METADATA: part.to_json()}
            save_file(
                {k: v.contiguous() for k, v in own.items()}, folder / "runs" / f"{part.key}.safetensors", metadata
            )
    for path in folder.glob("runs-*.jsonl"):
        path.unlink()


def test_seeds_that_were_recorded_one_by_one_are_as_good_as_a_batch(folder, tmp_path, record):
    other = record(tmp_path / "other", prompts=20)
    whole = evaluate_probe(probe(), other)
    single_seeds(other)
    assert len(Dataset(other).runs) == 20 * ROWS
    found = evaluate_probe(probe(), other)
    assert found.rows[0]["within_spearman"] == pytest.approx(whole.rows[0]["within_spearman"], abs=1e-9)
    train_probe(other, tmp_path / "p.safetensors", recipe_for(Dataset(other), "joint", steps=1, network=JOINT))


def test_a_prompt_with_fewer_seeds_than_most_spoils_neither_training_nor_evaluation(tmp_path, record):
    folder = record(tmp_path / "data", prompts=20)
    single_seeds(folder, every=5, rows=1)
    found = evaluate_probe(probe(), folder)
    assert found.rows[0]["prompts"] == 16 and found.rows[0]["seeds"] == ROWS
    assert "4 prompts with fewer seeds than most are left out." in found.text()
    train_probe(folder, tmp_path / "p.safetensors", recipe_for(Dataset(folder), "joint", steps=1, network=JOINT))


def test_training_says_how_many_validation_prompts_have_too_few_seeds_to_count(tmp_path, record, caplog):
    folder = record(tmp_path / "data", prompts=24)
    run = Dataset(folder).split()[1][0]
    fewer = replace(
        run,
        seeds=run.seeds[:2],
        labels={name: values[:2] for name, values in run.labels.items()},
        others={name: values[:2] for name, values in run.others.items()},
    )
    tensors = {name: value if name == "text" else value[:2] for name, value in Dataset(folder).load(run).items()}
    save_file(tensors, folder / "runs" / f"{run.key}.safetensors", {METADATA: fewer.to_json()})
    with caplog.at_level("INFO"):
        trained = train_probe(
            folder, tmp_path / "p.safetensors", recipe_for(Dataset(folder), "joint", steps=1, network=JOINT)
        )
    assert "1 validation prompts with fewer seeds than most are left out" in caplog.text
    assert {len(labels) for _, labels in trained.scored.values()} == {len(Dataset(folder).split()[1]) - 1}


def test_runs_that_cannot_be_read_are_left_out_and_counted(tmp_path, record, caplog):
    folder = record(tmp_path / "data", prompts=12)
    first, second, *_ = sorted((folder / "runs").glob("*.safetensors"))
    first.write_bytes(first.read_bytes()[:-100])
    second.unlink()
    found = evaluate_probe(probe(), folder)
    assert found.rows[0]["prompts"] == 10 and "2 recorded runs can't be used" in found.text()
    assert "2 of 12 recorded runs can't be used" in caplog.text


def with_labels(folder, values, key="*"):
    """The dataset with these labels in one of its runs, as no recording writes them."""
    path = sorted((folder / "runs").glob(f"{key}.safetensors"))[0]
    with safe_open(str(path), "pt") as file:
        run = json.loads(file.metadata()[METADATA])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    run["labels"]["reward"] = values
    save_file(tensors, path, {METADATA: json.dumps(run)})
    return folder


@pytest.mark.parametrize("values", [[float("nan")] * ROWS, [0.0] * (ROWS - 1) + [float("inf")], ["high"] * ROWS])
def test_a_run_whose_labels_are_no_numbers_is_left_out_by_name(values, tmp_path, record):
    folder = with_labels(record(tmp_path / "data", prompts=12), values)
    ((name, why),) = Dataset(folder).damaged.items()
    assert name == min(path.name for path in (folder / "runs").iterdir()) and "wrong value for labels" in why
    assert evaluate_probe(probe(), folder).rows[0]["prompts"] == 11


def test_a_recipe_learns_what_was_recorded_unless_labels_are_named(folder):
    dataset = Dataset(folder)
    assert recipe_for(dataset, "joint").labels == ("reward", "other")
    assert recipe_for(dataset, "joint", " other ,").labels == ("other",)
    with pytest.raises(ValueError, match="at most 3 heads, and 4 labels"):
        recipe_for(dataset, "joint", "a, b, c, d")


def test_without_muon_adamw_trains_everything(folder, tmp_path, monkeypatch, caplog):
    monkeypatch.delattr(torch.optim, "Muon")  # torch before 2.9
    recipe = recipe_for(Dataset(folder), "joint", steps=2, network=JOINT)
    assert recipe.matrix_rate == 0 and "has no Muon" in caplog.text
    assert len(train_probe(folder, tmp_path / "p.safetensors", recipe).progress.losses) == 2


def test_only_the_same_training_goes_on_from_what_a_stopped_one_left(folder, tmp_path):
    dataset, out = Dataset(folder), tmp_path / "p.safetensors"
    recipe = recipe_for(dataset, "joint", steps=9, network=JOINT)

    def stop(progress):
        if len(progress.losses) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_probe(folder, out, recipe, watch=stop)
    assert load_probe(out).card.kind == "joint"  # kept, though no check was due yet
    other = recipe_for(dataset, "joint", steps=9, seed=1, network=JOINT)
    assert Unfinished(out, dataset, recipe).goes_on() and not Unfinished(out, dataset, other).goes_on()
    with pytest.raises(ValueError, match="left by a training with other settings"):
        train_probe(folder, out, other)
    assert Unfinished(out, dataset, recipe).goes_on()
    assert len(train_probe(folder, out, other, anew=True).progress.losses) == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == [".p.safetensors.lock", "p.safetensors"]


def test_a_stopped_training_does_not_go_on_with_another_dataset_of_as_many_runs(folder, tmp_path, record):
    out, recipe = tmp_path / "p.safetensors", recipe_for(Dataset(folder), "joint", steps=9, network=JOINT)

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_probe(folder, out, recipe, watch=stop)
    # The same prompts, so the same split, recorded with another checkpoint of the family.
    others = record(tmp_path / "others", prompts=30, seed=1)
    for path in (others / "runs").glob("*.safetensors"):
        with_key(path, f"other{path.stem}")
    assert len(Dataset(others).split()[0]) == len(Dataset(folder).split()[0])
    assert not Unfinished(out, Dataset(others), recipe).goes_on()
    with pytest.raises(ValueError, match="or other data that was stopped"):
        train_probe(others, out, recipe)


def with_key(path, key):
    """A recorded run under another key."""
    with safe_open(str(path), "pt") as file:
        run = json.loads(file.metadata()[METADATA])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    save_file(tensors, path.with_stem(key), {METADATA: json.dumps({**run, "key": key})})
    path.unlink()


@pytest.mark.slow
def test_the_commands_train_and_evaluate_and_leave_file_table_and_pictures(folder, tmp_path, monkeypatch, capsys):
    out = tmp_path / "made" / "mine.safetensors"
    given = ["train", str(folder), "--out", str(out), "--steps", "3", "--network", json.dumps(JOINT)]
    monkeypatch.setattr(sys, "argv", ["training", *given])
    command.main(given)
    told = capsys.readouterr().out
    assert "joint probe for FLUX, learnt reward, other from" in told and "prompts, at 20% of the noise range" in told
    assert load_probe(out).card.command.startswith("python -m training train") and out.with_suffix(".png").exists()
    command.main(["evaluate", str(out), str(folder), "--out", str(tmp_path / "table.json")])
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert {row["probe"] for row in rows} == {"mine", "random", "text-only", "oracle", "best-of-n"}
    columns = "| moment | probe | within-prompt ρ | oracle share | SRCC | KTC | PCC | AUC | prompts |"
    assert columns in capsys.readouterr().out
    assert (tmp_path / "table.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit, match="holds no dataset"):
        command.main(["evaluate", str(out), str(tmp_path), "--out", str(tmp_path / "table.json")])


def test_a_table_keeps_the_name_that_it_was_given(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "load_probe", lambda path: probe())
    for name in ("rate_0.1", "rate_0.2.json"):
        command.main(["evaluate", "PROBE", str(folder), "--out", str(tmp_path / name)])
    made = ["rate_0.1.json", "rate_0.1.png", "rate_0.2.json", "rate_0.2.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == made


REFUSED = {
    "a probe that no list would show": (["--out", "mine"], "a probe's file ends with .safetensors"),
    "sizes that are no JSON": (["--network", "width=64"], "write sizes by name, as JSON"),
    "sizes without names": (["--network", "[64]"], "write sizes by name, as JSON"),
    "a size that the network does not have": (["--network", '{"wide": 64}'], "no size wide. It has width"),
    "a size that no file may have": (["--network", '{"layers": 99}'], "wrong value for network"),
    "an odd number of heads": (["--network", '{"attention_heads": 1}'], "give an even number"),
    "no prompts": (["--prompts", "0"], "give at least 1 of the first two"),
    "one row": (["--rows", "1"], "and 2 rows, to learn which is better"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_what_cannot_be_trained_is_one_sentence_of_the_command_line(wrong, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Fit, "run", lambda *given, **more: pytest.fail("it was trained"))
    given, says = REFUSED[wrong]
    with pytest.raises(SystemExit) as ended:
        command.main(["train", str(folder), "--out", str(tmp_path / "p.safetensors"), *given])
    assert says in f"{ended.value} {capsys.readouterr().err}"
    assert {path.name for path in tmp_path.iterdir()} <= {".p.safetensors.lock"}


def test_an_interrupt_at_the_command_line_is_one_sentence(folder, tmp_path, monkeypatch):
    def interrupted(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(Fit, "run", interrupted)
    with pytest.raises(SystemExit, match="interrupted. What was written is kept"):
        command.main(["train", str(folder), "--out", str(tmp_path / "p.safetensors"), "--network", json.dumps(JOINT)])


def test_reports_that_cannot_be_drawn_are_refused_before_anything_is_trained(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SystemExit, match="matplotlib is not installed"):
        command.main(["train", str(folder), "--out", str(tmp_path / "p.safetensors"), "--network", json.dumps(JOINT)])
    assert list(tmp_path.iterdir()) == []


def test_the_live_curve_is_a_picture_before_the_first_step_and_after_some():
    for progress in (Progress(10), Progress(10, [3.0, 2.0, 1.5], {3: 0.2})):
        picture = report.curve(progress)
        assert picture.dtype == np.uint8 and picture.shape[2] == 3 and picture.std() > 0
