"""Inputs of networks: the same of recorded rows and of the features that they were recorded from."""

from dataclasses import replace

import pytest
import torch
from diffusion_probe.engine.core.features import NEEDS, Features, on_grid, project_channels
from diffusion_probe.engine.core.prompt_words import Word
from diffusion_probe.probe_models.inputs import network_inputs, row_inputs, stacked
from diffusion_probe.probe_models.probe_card import ProbeCard
from diffusion_probe.probe_models.probe_file import KINDS, LearnedProbe
from diffusion_probe.training.dataset.batches import Batches
from diffusion_probe.training.dataset.folder import Dataset
from diffusion_probe.training.dataset.labels import Labels
from diffusion_probe.training.dataset.projection import dataset_projection
from diffusion_probe.training.dataset.recorder import FinishedRun, record_run
from diffusion_probe.training.fitting.fit import network_options
from diffusion_probe.training.fitting.recipe import default_sizes

BLOCKS, SEEDS, LATENT, KEPT = ("double 0", "single 1", "single 3"), (3, 4, 5), 4, 12
SINGLE = (Word("red", (1,)), Word("fox", (3,)), Word("red (2)", (4,)))
SEVERAL = (Word("red", (0, 1)), Word("fox", (3,)), Word("red (2)", (4, 5, 2)))


def captured(words, side=40):
    """Features of several seeds at two moments, latents of a size that is resized, activations of all channels."""
    torch.manual_seed(len(words))
    return [
        [
            Features(
                family="FLUX", moment=f"step {step}", step=step, sigma=1 - percent, percent=percent, blocks=BLOCKS,
                attention=(torch.rand(len(BLOCKS), 6, 5, 4) / 6).half(), words=words,
                denoised=torch.randn(LATENT, side, side - 8),
                latent=on_grid(torch.randn(LATENT, side, side - 8)).half(),
                activation=torch.randn(KEPT, 10, 8).half(), text=torch.randn(6, 7).half(),
            )
            for _ in SEEDS
        ]
        for step, percent in ((2, 0.1), (5, 0.2))
    ]  # fmt: skip


def with_one_text(moments):
    """The same with one prompt's text at all rows and moments, as rows of one run have it."""
    return [[replace(row, text=moments[0][0].text) for row in rows] for rows in moments]


def half(row):
    """A row whose features are in half precision as a dataset keeps them; attention and text of one position are."""
    return replace(row, denoised=row.denoised.half().float())


def recorded(folder, moments, prompt="red fox red"):
    final = torch.stack([row.denoised for row in moments[0]])
    labels = Labels({"reward": tuple(float(seed) for seed in SEEDS)})
    record_run(folder, f"run of {len(moments[0][0].words)}", FinishedRun(prompt, SEEDS, 9, moments, final, labels))
    return Dataset(folder), dataset_projection(folder)


def projected(moments, projection):
    """What capture gives of the same rows to a probe that brings the dataset's projection."""
    return [
        [replace(row, activation=project_channels(row.activation, projection).half()) for row in rows]
        for rows in moments
    ]


def probe_of(kind, batches):
    torch.manual_seed(0)
    inputs = batches.read([(group, 0, group.rows) for group in batches.groups[:1]])
    sizes = {**default_sizes(kind), **network_options(kind, inputs)}
    network = KINDS[kind](2, 1, **sizes)
    for parameter in network.parameters():  # also those that start at zero
        torch.nn.init.normal_(parameter, std=0.05)
    card = ProbeCard(kind, "FLUX", ("single 3", "double 0"), (), "reward", ("reward",), sizes)
    return LearnedProbe("probe", card, network)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", [SINGLE, ()], ids=["words", "no words"])
def test_recorded_rows_have_the_scores_of_the_live_features_bit_for_bit(tmp_path, kind, words):
    """On a grid that needs no averaging and words of one position, so that nothing is rounded that live rows have."""
    moments = with_one_text(captured(words, side=32))
    moments = [[half(row) for row in rows] for rows in moments]
    if not words:
        moments = [[one_token(row) for row in rows] for rows in moments]
    dataset, projection = recorded(tmp_path, moments)
    batches = Batches(dataset, dataset.runs, KINDS[kind].needs, ("reward",), (2, 0))
    probe = probe_of(kind, batches)
    (group,) = batches.groups
    for number, rows in enumerate(projected(moments, projection)):
        batch = batches.read([(group, number, group.rows)])
        with torch.no_grad():
            stored = probe.network(batch.inputs)[:, 0]
        assert len(set(stored.tolist())) == len(SEEDS)
        assert torch.equal(stored, probe.score(rows))


def one_token(row):
    """A row with a single text position, whose maps and embedding are those of all the text."""
    return replace(row, attention=row.attention[:, :1], text=row.text[:1])


@pytest.mark.parametrize("kind", KINDS)
def test_words_of_several_positions_and_resized_latents_differ_by_half_precision(tmp_path, kind):
    """Sums of maps, means of embeddings and area averages are rounded to float16 in a dataset, and to nothing else."""
    moments = with_one_text(captured(SEVERAL))
    dataset, projection = recorded(tmp_path, moments)
    batches = Batches(dataset, dataset.runs, KINDS[kind].needs, ("reward",))
    (group,) = batches.groups
    for number, rows in enumerate(projected(moments, projection)):
        stored = batches.read([(group, number, group.rows)]).inputs
        live = stacked([row_inputs(row, BLOCKS, KINDS[kind].needs) for row in rows])
        assert [name for name, _ in live.tensors()] == [name for name, _ in stored.tensors()]
        for name, value in live.tensors():
            rounded = value if name in ("percent", "present", "spelling") else value.half().float()
            assert torch.equal(getattr(stored, name), rounded), name


@pytest.mark.parametrize("needs", [frozenset(NEEDS), frozenset({"denoised"}), frozenset({"text", "attention"})])
def test_inputs_of_rows_together_are_those_of_each_row_with_words_filled_up(needs):
    rows = [*captured(SINGLE)[0], *captured(SEVERAL[:2])[1]]
    alone = [row_inputs(row, BLOCKS[1:], needs) for row in rows]
    together = stacked(alone)
    for number, one in enumerate(alone):
        for name, value in one.tensors():
            row = getattr(together, name)[number]
            if name in ("maps", "text", "spelling", "present"):
                assert torch.equal(row[: value.shape[1]], value[0]) and not row[value.shape[1] :].any()
            else:
                assert torch.equal(row, value[0])
    assert (together.present is None) == (needs == {"denoised"})


def test_rows_of_one_prompt_share_its_words():
    text, maps = torch.rand(2, 7), torch.rand(3, 4, 2, 5, 5).half()
    inputs = network_inputs({"text": text, "maps": maps}, ["red", "fox"], [0.1, 0.2, 0.3], [3, 1])
    assert torch.equal(inputs.maps, maps[:, [3, 1]].float().transpose(1, 2))
    assert torch.equal(inputs.text, text.expand(3, 2, 7)) and inputs.present.shape == (3, 2)
    assert torch.equal(inputs[1:].percent, torch.tensor([0.2, 0.3])) and inputs[::2].maps.shape[0] == 2
