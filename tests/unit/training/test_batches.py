"""Batches of recorded rows: what belongs together, what else rows are judged by, and one size at a time."""

from dataclasses import replace

import pytest
import torch
from diffusion_probe.training.dataset.batches import Batches, grouped
from diffusion_probe.training.dataset.folder import Dataset, is_validation
from diffusion_probe.training.dataset.other_prompts import OtherPrompts
from diffusion_probe.training.dataset.run_record import METADATA
from diffusion_probe.training.fitting.fit import Fit, Recipe
from diffusion_probe.training.fitting.probe_training import train_probe
from diffusion_probe.training.fitting.word_losses import scores_of_others
from safetensors.torch import save_file

ROWS, CHANNELS = 6, 4
SMALL = {
    "joint": {"width": 16, "channels": 8, "looking": 1, "seeing": 1, "layers": 2},
    "attention cnn": {"widths": (8, 16), "layers": 1},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, record):
    return record(tmp_path_factory.mktemp("dataset") / "data")


def recipe(kind):
    return Recipe(kind, ("reward", "other"), steps=1, prompts=6, rows=ROWS, network=SMALL[kind])


def test_a_batch_holds_rows_of_one_prompt_and_moment_per_group_with_their_labels(folder):
    dataset = Dataset(folder)
    batches = Batches(dataset, dataset.runs, frozenset({"denoised"}), ("reward",))
    batch = batches.draw(torch.Generator().manual_seed(0), groups=5, rows=4)
    assert batch.labels.shape == (5, 4, 1) and batch.inputs.denoised.shape == (20, CHANNELS, 6, 4)
    torch.testing.assert_close(batch.final[:, 0, 0, 0].unflatten(0, (5, 4)), batch.labels[..., 0], atol=2e-3, rtol=1e-2)
    assert torch.equal(batch.inputs.percent, batch.percent.repeat_interleave(4))
    assert batch.inputs.maps is None and batch.inputs.activation is None and batch.inputs.text is None


def test_rows_under_other_prompts_come_with_those_prompts_text_and_labels(folder):
    dataset = Dataset(folder)
    batches = Batches(dataset, dataset.runs, frozenset({"denoised", "text"}), ("reward",))
    batch = batches.draw(torch.Generator().manual_seed(1), groups=3, rows=ROWS, others=2)
    truth, (others,) = batch.labels[..., 0], batch.others
    torch.testing.assert_close(others.labels, -truth[:, None])
    own = batch.inputs.text[::ROWS, 0, 0] * 24
    told = others.inputs.text[:, 0, 0] * 24
    torch.testing.assert_close(told, (own + 1) % 24, atol=0.05, rtol=0)


def test_rows_under_parts_of_prompts_have_the_embeddings_of_those_words(folder):
    dataset = Dataset(folder)
    first, second = dataset.runs[:2]
    judged = {"its second word": (0.5,) * ROWS, "the other's first": (0.25,) * ROWS}
    first = replace(first, others=judged, phrases={"its second word": (1,)})
    second = replace(second, others={}, phrases={"the other's first": (0,)})
    batches = Batches(dataset, [first, second], frozenset({"denoised", "text"}), ("reward",))
    (parts,) = batches.draw(torch.Generator().manual_seed(0), groups=2, rows=ROWS, others=1).others
    words = {0.5: dataset.load(first)["text"][1:2], 0.25: dataset.load(second)["text"][:1]}
    asked = [
        (label, text[present])
        for label, text, present in zip(
            parts.labels[..., 0].flatten().tolist(), parts.inputs.text, parts.inputs.present
        )
    ]
    for label, text in asked:
        torch.testing.assert_close(text, words.get(label, dataset.load(second)["text"]).float())
    own = sorted(label for label, _ in asked if label not in words)
    assert sorted(label for label, _ in asked if label in words) == [0.25, 0.5] and len(own) == 2
    assert all(min(abs(label - value) for value in second.labels["reward"]) < 1e-6 for label in own)


@pytest.mark.parametrize("kind", ["joint", "attention cnn"])
def test_rows_under_their_own_prompt_as_if_it_were_another_are_scored_as_usual(kind, folder, tmp_path):
    """With its maps, then; and a prompt of the same words in another order is given the maps of those words."""
    fit = Fit(dataset := Dataset(folder), dataset.runs, recipe(kind), tmp_path / "ck")
    batch = fit.batches.draw(torch.Generator().manual_seed(0), groups=2, rows=3)
    network, inputs = fit.network.eval(), batch.inputs
    torch.nn.init.normal_(network.score.weight)
    prompts = inputs[::3]
    own = torch.arange(prompts.text.shape[1]).expand(2, 1, -1)
    with torch.no_grad():
        (features, cells, _), labels = network.encode_rows(inputs), torch.zeros(2, 1, 3)
        as_other = scores_of_others(network, features, cells, inputs, OtherPrompts(prompts, labels, own))
        torch.testing.assert_close(as_other.flatten(), network(inputs)[:, 0])
        turned = replace(prompts, text=prompts.text.flip(1), spelling=prompts.spelling.flip(1))
        flipped = replace(inputs, **{name: getattr(inputs, name).flip(1) for name in ("text", "spelling", "maps")})
        others = OtherPrompts(turned, labels, own.flip(2))
        found = scores_of_others(network, features, cells, inputs, others).flatten()
        torch.testing.assert_close(found, network(flipped)[:, 0])
    assert (found - as_other.flatten()).abs().max() > 1e-4


def test_without_words_no_part_of_a_prompt_has_maps(folder):
    dataset = Dataset(folder)
    run = replace(dataset.runs[0], others={"its second word": (0.5,) * ROWS}, phrases={"its second word": (1,)})
    needs = {"attention", "text", "denoised"}
    batches = Batches(dataset, [run], frozenset(needs), ("reward",), use_words=False)
    batch = batches.draw(torch.Generator().manual_seed(0), groups=1, rows=ROWS, others=1)
    assert batch.inputs.text.shape[1] == 1 and (batch.others[0].own == -1).all()
    alone = Batches(dataset, [run], frozenset(needs - {"denoised"}), ("reward",), use_words=False)
    assert not alone.draw(torch.Generator().manual_seed(0), groups=1, rows=ROWS, others=1).others


def test_what_sees_words_maps_alone_is_asked_about_its_own_words_alone(folder):
    dataset = Dataset(folder)
    judged = {"its second word": (0.5,) * ROWS, "another prompt": (0.25,) * ROWS}
    run = replace(dataset.runs[0], others=judged, phrases={"its second word": (1,)})
    batches = Batches(dataset, [run], frozenset({"attention", "text"}), ("reward",))
    (parts,) = batches.draw(torch.Generator().manual_seed(0), groups=1, rows=ROWS, others=1).others
    assert parts.own.flatten().tolist() == [1] and (parts.labels == 0.5).all()


def test_a_batch_is_of_one_size_and_every_size_is_drawn_and_measured(tmp_path, record):
    """Of latents, of maps, or of activations: each may differ where the others don't."""
    folder = record(tmp_path / "data", prompts=24)
    training, validation = Dataset(folder).split()
    maps, latents = (
        [f"{moment}.{name}" for moment in (0, 1) for name in names] for names in (["maps"], ["latent", "denoised"])
    )
    for names, runs in ((["final", *latents], training[::3]), (maps, training[1::3]), (maps, validation[:1])):
        for run in runs:
            tensors = Dataset(folder).load(run)
            tensors |= {name: torch.cat([tensors[name], tensors[name]], -1) for name in names}
            save_file(tensors, folder / "runs" / f"{run.key}.safetensors", {METADATA: run.to_json()})
    dataset = Dataset(folder)
    batches = Batches(dataset, dataset.split()[0], frozenset({"denoised", "attention"}), ("reward",))
    drawn = [batches.draw(torch.Generator().manual_seed(seed), groups=5, rows=4) for seed in range(30)]
    sizes = {(batch.final.shape[-1], batch.inputs.maps.shape[-1]) for batch in drawn}
    assert sizes == {(4, 2), (8, 2), (4, 4)}
    usual = batches.of_the_usual_size().groups
    assert len({group.grids for group in usual}) == 1 and len(usual) == max(len(training[n::3]) for n in range(3))
    trained = train_probe(folder, tmp_path / "p.safetensors", recipe("attention cnn"))
    assert sum(len(labels) for _, labels in trained.scored.values()) == 2 * len(validation)


def test_low_labels_can_be_drawn_more_often(folder):
    dataset = Dataset(folder)
    batches = Batches(dataset, dataset.runs, frozenset({"denoised"}), ("reward",))

    def mean(low_first):
        generator = torch.Generator().manual_seed(0)
        return float(torch.stack([batches.draw(generator, 4, 6, low_first).labels.mean() for _ in range(60)]).mean())

    assert mean(20.0) < mean(0.0) - 0.02


def test_runs_of_other_seeds_of_a_prompt_are_one_group(folder):
    dataset = Dataset(folder)
    more = replace(dataset.runs[0], key="more", seeds=(100, 101))
    groups = grouped([*dataset.runs, more])
    assert len(groups) == len(dataset.runs) and max(len(group.rows) for group in groups) == ROWS + 2


def test_no_prompt_is_in_training_and_validation(folder):
    training, validation = Dataset(folder).split()
    assert training and validation
    assert {run.prompt for run in validation} == {f"prompt {n}" for n in range(24) if is_validation(f"prompt {n}")}
    assert not {run.prompt for run in training} & {run.prompt for run in validation}
