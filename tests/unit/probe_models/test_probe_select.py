"""The network of the Probe-Select paper: sizes as stated, vectors of image and text, and a head that compares them."""

import pytest
import torch
from diffusion_probe.probe_models.inputs import Inputs
from diffusion_probe.probe_models.probe_select import ProbeSelectNetwork

ACTIVATION, TEXT = 6, 10


def inputs_of(rows=2, words=3, grid=(8, 8), seed=0):
    draw = torch.Generator().manual_seed(seed)
    return Inputs(
        percent=torch.full((rows,), 0.2),
        present=torch.ones(rows, words, dtype=torch.bool),
        text=torch.rand(rows, words, TEXT, generator=draw),
        activation=torch.rand(rows, ACTIVATION, *grid, generator=draw),
    )


def network(heads=1, **options):
    torch.manual_seed(0)
    sizes = {"widths": (8, 16), "vector": 16, "hidden": 16, "comparing": 16, **options}
    return ProbeSelectNetwork(3, heads, ACTIVATION, TEXT, **sizes).eval()


def test_the_published_network_has_the_stated_sizes():
    published = ProbeSelectNetwork(10, 1, activation=48, text=4096)
    count = sum(parameter.numel() for parameter in published.parameters())
    assert count == pytest.approx(6.1e6, rel=0.01)
    assert [stage.smaller.out_channels for stage in published.stages] == [128, 256]
    assert published.stem.in_channels == 48 and published.longest == 48
    assert published.image.out_features == published.text[-1].out_features == 256
    assert published.head[0].in_features == 4 * 256


def test_the_head_reads_both_vectors_their_product_and_their_difference():
    probe = network()
    probe.head = torch.nn.Identity()
    image, text = torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0, 5.0]])
    expected = torch.tensor([[1.0, -2.0, 3.0, 5.0, 3.0, -10.0, 2.0, 7.0]])
    assert torch.equal(probe.compare(image, text), expected)


def test_each_stage_halves_the_grid_of_at_most_forty_eight():
    probe, seen = network(), []
    for stage in probe.stages:
        stage.register_forward_hook(lambda module, given, out: seen.append((given[0].shape[-2:], out.shape[-2:])))
    probe(inputs_of(1, grid=(96, 64)))
    assert seen == [((48, 32), (24, 16)), ((24, 16), (12, 8))]


@pytest.mark.parametrize("grid", [(1, 1), (7, 12)])
def test_any_grid_and_any_number_of_words_give_a_number_per_head(grid):
    scores = network(heads=3)(inputs_of(2, 5, grid))
    assert scores.shape == (2, 3) and scores.isfinite().all()


def test_the_text_is_the_mean_of_the_words_that_are_there():
    probe, inputs = network(), inputs_of(1)
    padded = Inputs(
        inputs.percent, present=torch.tensor([[True] * 3 + [False] * 2]), activation=inputs.activation,
        text=torch.cat([inputs.text, torch.rand(1, 2, TEXT)], 1),
    )  # fmt: skip
    one = Inputs(
        inputs.percent, present=torch.ones(1, 1, dtype=torch.bool), activation=inputs.activation,
        text=inputs.text.mean(1, keepdim=True),
    )  # fmt: skip
    torch.testing.assert_close(probe(padded), probe(inputs))
    torch.testing.assert_close(probe(one), probe(inputs))


def test_every_weight_of_the_published_ranker_has_a_part_in_the_score():
    probe = network()
    probe(inputs_of()).square().sum().backward()
    assert [name for name, parameter in probe.named_parameters() if not parameter.grad.abs().max() > 0] == []


def test_the_published_ranker_scores_each_row_by_itself():
    probe, both = network(), inputs_of(2)
    torch.testing.assert_close(probe(both)[1:], probe(both[1:]))
