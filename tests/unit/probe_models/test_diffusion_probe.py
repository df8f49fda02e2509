"""The network of the Diffusion Probe paper: 20 channels of ten blocks, no words, one number per head."""

import pytest
import torch
from diffusion_probe.probe_models.diffusion_probe import DiffusionProbeNetwork
from diffusion_probe.probe_models.inputs import Inputs

SMALL = {"widths": (8, 16), "layers": 1}


def inputs_of(maps, percent=0.2, present=None):
    rows, words = maps.shape[:2]
    present = torch.ones(rows, words, dtype=torch.bool) if present is None else present
    return Inputs(percent=torch.full((rows,), percent), maps=maps, present=present)


def network(blocks=3, heads=1, **options):
    torch.manual_seed(0)
    return DiffusionProbeNetwork(blocks, heads, **{**SMALL, **options}).eval()


def test_ten_blocks_give_the_twenty_channels_of_the_released_checkpoint():
    assert DiffusionProbeNetwork(10).stem.in_channels == 20
    assert DiffusionProbeNetwork(10, deviation=1).stem.in_channels == 30
    with pytest.raises(ValueError, match="at least one statistic"):
        DiffusionProbeNetwork(10, mean=0, largest=0)


def test_channels_are_mean_maximum_and_deviation_over_the_words_of_a_row():
    maps = torch.rand(2, 5, 3, 4, 6)
    present = torch.tensor([[True] * 5, [True, True, True, False, False]])
    images = network(deviation=1).images(inputs_of(maps, present=present))
    for row, count in ((0, 5), (1, 3)):
        own = maps[row, :count]
        expected = torch.cat([own.mean(0), own.amax(0), own.std(0, correction=0)])
        torch.testing.assert_close(images[row], expected)


def test_large_maps_are_averaged_to_the_longest_side_and_small_ones_stay():
    probe = network(longest=4, largest=0)
    maps = torch.rand(1, 1, 3, 8, 4)
    expected = maps[0, 0].unflatten(1, (4, 2)).unflatten(3, (2, 2)).mean((2, 4))
    torch.testing.assert_close(probe.images(inputs_of(maps))[0], expected)
    assert probe.images(inputs_of(maps[..., :3, :4])).shape[-2:] == (3, 4)


def test_neither_the_order_of_words_nor_their_text_counts():
    probe, maps = network(), torch.rand(1, 4, 3, 8, 8)
    assert probe.needs == {"attention"}
    scores = probe(inputs_of(maps))
    torch.testing.assert_close(probe(inputs_of(maps.flip(1))), scores)
    assert (probe(inputs_of(maps.flip(-1))) - scores).abs().max() > 1e-5


def test_the_noise_level_counts():
    probe, maps = network(), torch.rand(1, 4, 3, 8, 8)
    assert (probe(inputs_of(maps, 0.5)) - probe(inputs_of(maps, 0.1))).abs().max() > 1e-5


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("grid", [(1, 2), (7, 5), (40, 24)])
def test_any_grid_gives_a_number_for_each_head(heads, grid):
    scores = network(heads=heads)(inputs_of(torch.rand(2, 3, 3, *grid)))
    assert scores.shape == (2, heads) and scores.isfinite().all()


def test_every_weight_of_the_published_network_has_a_part_in_the_score():
    probe = network()
    probe(inputs_of(torch.rand(2, 3, 3, 8, 8))).square().sum().backward()
    assert [name for name, parameter in probe.named_parameters() if not parameter.grad.abs().max() > 0] == []


def test_maps_of_any_scale_are_normalised_over_the_training_rows():
    probe, maps = network(), 1e-5 * torch.rand(6, 3, 3, 8, 8)
    probe.fit_norms(inputs_of(maps))
    normal = probe.maps_norm(probe.images(inputs_of(maps)))
    torch.testing.assert_close(normal.mean((0, 2, 3)), torch.zeros(6), atol=1e-3, rtol=0)
    torch.testing.assert_close(normal.std((0, 2, 3)), torch.ones(6), atol=1e-2, rtol=0)
