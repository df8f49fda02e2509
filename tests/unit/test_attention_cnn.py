"""The attention CNN takes any words and any grid, and learns from where attention lies."""

import pytest
import torch
from diffusion_probe.probe_models.attention_cnn import AttentionCNN
from diffusion_probe.probe_models.inputs import Inputs
from torch import nn

BLOCKS = 4
LEVEL = torch.tensor([0.2])


def random_maps(words=3, height=6, width=9, seed=0, rows=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, words, BLOCKS, height, width, generator=generator) ** 4 / words


def rate(network, maps, level, present=None):
    present = torch.ones(maps.shape[:2], dtype=torch.bool) if present is None else present
    return network(Inputs(percent=level, maps=maps, present=present))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return AttentionCNN(BLOCKS, heads=2, widths=(16, 32), layers=1).eval().requires_grad_(False)


def test_ten_blocks_and_three_heads_cost_at_most_four_million_parameters():
    assert sum(parameter.numel() for parameter in AttentionCNN(10, 3).parameters()) <= 4e6


@pytest.mark.parametrize("grid", [(1, 1), (1, 5), (8, 8), (6, 9), (32, 20)])
@pytest.mark.parametrize("words", [1, 2, 40])
def test_any_number_of_words_on_any_grid_gives_one_number_per_head(network, words, grid):
    rated = rate(network, random_maps(words, *grid), LEVEL)
    assert rated.shape == (1, 2) and rated.isfinite().all()


@pytest.mark.parametrize("level", [0.0, 1.0])
@pytest.mark.parametrize("grid", [(1, 1), (7, 5)])
def test_empty_and_even_maps_give_a_number_and_gradients(level, grid):
    maps = level * torch.ones(1, 2, BLOCKS, *grid)
    network = AttentionCNN(BLOCKS, widths=(8,), layers=1).train()
    rated = rate(network, maps, torch.tensor([1.0]))
    rated.sum().backward()
    assert rated.isfinite().all() and all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_the_order_of_words_does_not_count_and_which_words_there_are_does(network):
    maps = random_maps(5)
    rated = rate(network, maps, LEVEL)
    torch.testing.assert_close(rate(network, maps[:, [3, 0, 4, 1, 2]], LEVEL), rated)
    assert (rate(network, maps[:, :4], LEVEL) - rated).abs().max() > 1e-4


def test_padding_in_a_batch_changes_nothing(network):
    short, long = random_maps(2, seed=1), random_maps(5, seed=2)
    padded = torch.cat([torch.cat([short, random_maps(3, seed=3)], 1), long])
    present = torch.arange(5)[None] < torch.tensor([[2], [5]])
    together = rate(network, padded, LEVEL.expand(2), present)
    torch.testing.assert_close(together, torch.cat([rate(network, short, LEVEL), rate(network, long, LEVEL)]))


def test_the_noise_level_counts(network):
    maps = random_maps()
    assert (rate(network, maps, LEVEL) - rate(network, maps, LEVEL * 2)).abs().max() > 1e-4


def test_every_weight_has_a_part_in_the_score():
    network = AttentionCNN(BLOCKS, 3, widths=(16, 32), layers=2)
    rate(network, random_maps(4, rows=3), torch.tensor([0.1, 0.2, 0.5])).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in network.parameters())


def test_it_learns_what_only_the_words_together_tell():
    """Whether two words lie on one place: no statistic of a single map says so. Judged on rows it has not seen."""
    generator = torch.Generator().manual_seed(0)
    place = torch.randint(0, 36, (320, 2), generator=generator)
    together = torch.rand(320, generator=generator) < 0.5
    place[together, 1] = place[together, 0]
    maps = nn.functional.one_hot(place, 36).reshape(320, 2, 1, 6, 6) * 0.4 + 0.01
    maps = maps * (0.5 + torch.rand(320, 2, BLOCKS, 6, 6, generator=generator))
    torch.manual_seed(0)
    network = AttentionCNN(BLOCKS, widths=(8, 16), layers=1)
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
    level, target = torch.full((320,), 0.2), together.float()
    for _ in range(100):
        rows = torch.randint(0, 256, (64,), generator=generator)
        optimizer.zero_grad()
        nn.functional.mse_loss(rate(network, maps[rows], level[rows])[:, 0], target[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        held_out = rate(network, maps[256:], level[256:])[:, 0]
    assert torch.corrcoef(torch.stack([held_out, target[256:]]))[0, 1] > 0.8
