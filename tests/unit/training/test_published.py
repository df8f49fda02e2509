"""Trainings as the papers describe them: losses computed by hand, schedules, draws, and probes that load again."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from diffusion_probe.probe_models.probe_file import load_probe, new_network
from diffusion_probe.training.dataset.batches import Batches
from diffusion_probe.training.dataset.folder import Dataset
from diffusion_probe.training.fitting import fit, published
from diffusion_probe.training.fitting.fit import Fit
from diffusion_probe.training.fitting.probe_training import train_probe
from diffusion_probe.training.fitting.recipe import Recipe, recipe_for

from support.networks import SMALL

KINDS = (published.DIFFUSION_PROBE, published.PROBE_SELECT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, record):
    return record(tmp_path_factory.mktemp("dataset") / "data")


def test_ranking_compares_a_row_with_those_that_are_worse_by_the_margin():
    """0 against 2, and 1 against 2; 0 is better than 1 by less than the margin, and 2 is better than none."""
    scores, labels = torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[1.0, 0.6, 0.0]])
    expected = (math.log(1 + math.exp(-2 / 0.5)) + math.log(1 + math.exp(-1 / 0.5))) / 2
    assert float(published.margin_ranking(scores, labels, 0.5, 0.5)) == pytest.approx(expected, rel=1e-5)
    wider = published.margin_ranking(scores, labels, 0.7, 0.5)
    assert float(wider) == pytest.approx(math.log(1 + math.exp(-4)), rel=1e-5)
    assert float(published.margin_ranking(scores, labels, 2.0, 0.5)) == 0


def test_ranking_never_compares_rows_of_two_prompts():
    scores, labels = torch.tensor([[5.0, 1.0], [0.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    shifted = scores + torch.tensor([[10.0], [-10.0]])
    torch.testing.assert_close(
        published.margin_ranking(shifted, labels, 0.5, 1.0), published.margin_ranking(scores, labels, 0.5, 1.0)
    )


def test_alignment_counts_no_row_of_the_own_prompt_as_a_negative():
    images, texts = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [0.0, 3.0]]]), torch.eye(2)
    near, far = math.log(1 + math.exp(-5)), math.log(1 + math.exp(5))
    expected = (near + far + near + near) / 4
    assert float(published.alignment(images, texts, 0.2)) == pytest.approx(expected, rel=1e-5)


def test_the_pearson_term_is_the_mean_correlation_within_prompts():
    torch.manual_seed(0)
    scores, labels = torch.rand(3, 6), torch.rand(3, 6)
    expected = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(scores.numpy(), labels.numpy())])
    assert float(published.correlation(scores, labels)) == pytest.approx(expected, rel=1e-4)
    assert float(published.correlation(scores, torch.ones(3, 6))) == pytest.approx(0, abs=1e-6)


def test_margin_and_temperatures_go_from_their_first_to_their_last_value():
    assert published.SCHEDULE.at(0.0) == pytest.approx((0.5, 1.0, 0.1))
    assert published.SCHEDULE.at(0.5) == pytest.approx((0.3, 0.55, 0.55))
    assert published.SCHEDULE.at(1.0) == pytest.approx((0.1, 0.1, 1.0))


def test_the_whole_loss_weighs_alignment_and_pearson_by_ten():
    torch.manual_seed(0)
    scores, labels, images, texts = torch.rand(2, 4, 1), torch.rand(2, 4, 1), torch.rand(2, 4, 5), torch.rand(2, 5)
    found = published.probe_select_loss(scores, labels, images, texts, progress=1.0)
    expected = (
        published.margin_ranking(scores[..., 0], labels[..., 0], 0.1, 0.1)
        + 10 * published.alignment(images, texts, 1.0)
        + 10 * (1 - published.correlation(scores[..., 0], labels[..., 0]))
    )
    torch.testing.assert_close(found, expected)


def test_recipes_have_what_the_papers_state(folder):
    dataset = Dataset(folder)
    cnn, ranker = (recipe_for(dataset, kind) for kind in KINDS)
    assert cnn.listwise == cnn.matrix_rate == cnn.others == 0, "the squared error alone, by AdamW"
    assert cnn.by_image and cnn.low_first > 0 and cnn.percent is None
    assert (ranker.rate, ranker.average, ranker.percent, ranker.matrix_rate) == (1e-5, 0.999, 0.2, 0)
    assert recipe_for(dataset, KINDS[1], rate=1e-4, rows=4).rate == 1e-4, "a user's setting comes first"
    assert recipe_for(dataset, "joint") == Recipe("joint", ("reward", "other")), "other kinds train as before"


def test_a_training_that_an_earlier_version_stopped_knows_its_recipe_again():
    text = (
        "Recipe(kind='joint', labels=('reward',), steps=2000, seed=0, prompts=24, rows=4, rate=0.002, "
        "matrix_rate=0.005, listwise=1.0, low_first=0.0, blocks=None, others=2, use_words=True, network={})"
    )
    assert repr(Recipe("joint", ("reward",))) == text
    assert repr(Recipe("joint", ("reward",), percent=0.2)) == text[:-1] + ", percent=0.2)"


def test_low_images_are_drawn_more_often_and_moments_evenly(folder):
    dataset = Dataset(folder)
    batches = Batches(dataset, dataset.runs, frozenset({"attention"}), ("reward",))
    rows = [(group, row) for group in batches.groups for row in group.rows]
    values = sorted(run.labels["reward"][row] for _, (run, row) in rows)
    low, high = values[len(values) // 4], values[-len(values) // 4]
    labels, percents = [], Counter()
    for seed in range(40):
        batch = batches.draw_images(torch.Generator().manual_seed(seed), 12, low_first=3.0)
        assert batch.labels.shape == (12, 1, 1) and batch.inputs.maps.shape[0] == 12
        labels += batch.labels.flatten().tolist()
        percents.update(round(percent, 3) for percent in batch.percent.tolist())
    lowest, highest = sum(value <= low for value in labels), sum(value >= high for value in labels)
    assert lowest > 1.5 * highest
    assert min(percents.values()) > 0.6 * max(percents.values()) and len(percents) > 1


def test_probe_select_learns_from_the_moment_next_to_a_fifth_alone(folder, tmp_path):
    dataset = Dataset(folder)
    recipe = recipe_for(dataset, KINDS[1], network=SMALL[KINDS[1]])
    training = Fit(dataset, dataset.runs, recipe, tmp_path / "checkpoint.safetensors")
    levels = {round(moment.percent, 3) for run in dataset.runs for moment in run.moments}
    nearest = min(levels, key=lambda level: abs(level - 0.2))
    drawn = {round(level, 3) for step in range(5) for level in training._draw(step).percent.tolist()}
    assert len(levels) > 1 and drawn == {nearest}


@pytest.mark.parametrize("kind", KINDS)
def test_a_published_kind_learns_and_its_file_loads_again(folder, tmp_path, kind):
    dataset, out = Dataset(folder), tmp_path / "probe.safetensors"
    recipe = recipe_for(dataset, kind, "reward", steps=30, rate=3e-3, prompts=6, rows=4, network=SMALL[kind])
    trained = train_probe(folder, out, recipe)
    losses = trained.progress.losses
    assert np.mean(losses[-8:]) < np.mean(losses[:8])
    probe = load_probe(out)
    assert probe.card.kind == kind and probe.needs == new_network(probe.card).needs
    assert (
        probe.card.network.items()
        >= {name: list(v) if isinstance(v, tuple) else v for name, v in SMALL[kind].items()}.items()
    )


def test_scores_of_three_heads_come_out_in_the_units_of_their_labels():
    network = fit.KINDS[published.DIFFUSION_PROBE](2, 3, **SMALL[published.DIFFUSION_PROBE])
    x = torch.rand(4, 16, 2, 2)
    before = network.output(x)
    mean, std = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([3.0, 0.1, 1.0])
    fit.unscale(network, mean, std)
    torch.testing.assert_close(network.output(x), before * std + mean)
