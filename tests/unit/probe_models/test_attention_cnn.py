"""The attention CNN takes any words and any grid, and learns from where attention lies."""

import pytest
import torch
from diffusion_probe.probe_models.attention_cnn import AttentionCNN
from diffusion_probe.probe_models.inputs import SPELLING, Inputs, spelled
from torch import nn

BLOCKS = 4
LEVEL = torch.tensor([0.2])


def random_maps(words=3, height=6, width=9, seed=0, rows=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, words, BLOCKS, height, width, generator=generator) ** 4 / words


def rate(network, maps, level, present=None, spelling=None):
    """All words are the same one unless told otherwise."""
    rows, words = maps.shape[:2]
    return network(
        Inputs(
            percent=level,
            maps=maps,
            present=torch.ones(rows, words, dtype=torch.bool) if present is None else present,
            text=torch.zeros(rows, words, 0),
            spelling=torch.ones(rows, words, SPELLING) if spelling is None else spelling,
        )
    )


@pytest.fixture
def network():
    torch.manual_seed(0)
    return AttentionCNN(BLOCKS, heads=2, widths=(16, 32), layers=1).eval().requires_grad_(False)


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


def test_which_word_a_map_belongs_to_counts(network):
    maps, words = random_maps(2), spelled(["circle", "square"])[None]
    rated = rate(network, maps, LEVEL, spelling=words)
    assert (rate(network, maps.flip(1), LEVEL, spelling=words) - rated).abs().max() > 1e-4


def test_padding_in_a_batch_changes_nothing(network):
    short, long = random_maps(2, seed=1), random_maps(5, seed=2)
    padded = torch.cat([torch.cat([short, random_maps(3, seed=3)], 1), long])
    present = torch.arange(5)[None] < torch.tensor([[2], [5]])
    together = rate(network, padded, LEVEL.expand(2), present)
    torch.testing.assert_close(together, torch.cat([rate(network, short, LEVEL), rate(network, long, LEVEL)]))


def test_the_noise_level_counts(network):
    maps = random_maps()
    assert (rate(network, maps, LEVEL) - rate(network, maps, LEVEL * 2)).abs().max() > 1e-4


def learnt(maps, words, labels, steps=100):
    """Correlation on the last fifth of the rows of what is learnt from the others, as trainings do it."""
    known, level = 4 * len(maps) // 5, LEVEL.expand(len(maps))
    torch.manual_seed(0)
    network = AttentionCNN(BLOCKS, widths=(8, 16), layers=1, width=32)
    present = torch.ones(maps.shape[:2], dtype=torch.bool)
    network.fit_norms(Inputs(percent=level, maps=maps[:known], present=present[:known]))
    optimizer, generator = torch.optim.AdamW(network.parameters(), 2e-3), torch.Generator().manual_seed(0)
    for _ in range(steps):
        rows = torch.randint(0, known, (64,), generator=generator)
        rated = rate(network, maps[rows], level[rows], spelling=words[rows])[:, 0]
        optimizer.zero_grad()
        nn.functional.mse_loss(rated, labels[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        held_out = rate(network, maps[known:], level[known:], spelling=words[known:])[:, 0]
    return torch.corrcoef(torch.stack([held_out, labels[known:]]))[0, 1]


def on_places(place, generator):
    """Maps with most of their mass on one of 36 cells, and noise."""
    maps = nn.functional.one_hot(place, 36).unflatten(-1, (1, 6, 6)) * 0.4 + 0.01
    return maps * (0.5 + torch.rand(*place.shape, BLOCKS, 6, 6, generator=generator))


@pytest.mark.slow
def test_it_learns_what_only_the_words_together_tell():
    """Whether two words lie on one place: no statistic of a single map says so."""
    generator = torch.Generator().manual_seed(0)
    place = torch.randint(0, 36, (320, 2), generator=generator)
    together = torch.rand(320, generator=generator) < 0.5
    place[together, 1] = place[together, 0]
    words = spelled(["circle", "square"]).expand(320, -1, -1)
    assert learnt(on_places(place, generator), words, together.float()) > 0.8


@pytest.mark.long
def test_it_learns_which_of_two_words_has_to_lie_higher():
    """Half of the prompts name the two in the other order; labels turn round with them."""
    generator = torch.Generator().manual_seed(1)
    place = torch.randint(0, 36, (480, 3), generator=generator)
    higher, turned = place[:, 0] // 6 < place[:, 2] // 6, torch.rand(480, generator=generator) < 0.5
    words = spelled(["circle", "above", "square"]).expand(480, -1, -1).clone()
    words[turned, 1] = spelled(["below"])
    assert learnt(on_places(place, generator), words, (higher ^ turned).float(), steps=200) > 0.7
