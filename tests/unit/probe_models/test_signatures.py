"""Failure signatures of attention maps against closed forms."""

import math

import pytest
import torch
from diffusion_probe.probe_models import signatures


def even(height: int = 8, width: int = 8) -> torch.Tensor:
    return torch.full((height, width), 0.25)


def one_cell(row: int = 2, column: int = 3, height: int = 8, width: int = 8) -> torch.Tensor:
    maps = torch.zeros(height, width)
    maps[row, column] = 0.5
    return maps


def test_an_even_map_has_entropy_one_and_one_cell_has_none():
    assert signatures.entropy(torch.stack([even(), one_cell()])).tolist() == pytest.approx([1, 0])


def test_entropy_of_k_equal_cells_is_ln_k_over_ln_cells():
    maps = torch.zeros(4, 8)
    maps[0, :5] = 3.0
    assert float(signatures.entropy(maps)) == pytest.approx(math.log(5) / math.log(32))


def test_peak_mass_of_an_even_map_is_the_share_of_its_cells():
    assert float(signatures.peak_mass(even(10, 10))) == pytest.approx(0.1)
    assert float(signatures.peak_mass(one_cell())) == pytest.approx(1)
    assert float(signatures.peak_mass(even(8, 8), share=0.5)) == pytest.approx(0.5)


def test_spread_is_none_for_a_point_one_for_opposite_corners():
    corners = one_cell(0, 0) + one_cell(7, 7)
    assert signatures.spread(torch.stack([one_cell(), corners])).tolist() == pytest.approx([0, 1], abs=1e-3)


def test_spread_of_an_even_map_is_that_of_a_uniform_distribution():
    high, wide = 5, 9
    expected = math.sqrt((high**2 - 1) / 12 + (wide**2 - 1) / 12) / (math.hypot(high - 1, wide - 1) / 2)
    assert float(signatures.spread(even(high, wide))) == pytest.approx(expected, rel=1e-4)


def test_spread_does_not_depend_on_where_a_blob_lies():
    a, b = torch.zeros(9, 9), torch.zeros(9, 9)
    a[1:3, 1:3], b[5:7, 4:6] = 1, 1
    assert float(signatures.spread(a)) == pytest.approx(float(signatures.spread(b)), rel=1e-3)


def test_hot_spots_are_counted():
    two = even() + 10 * one_cell(1, 1) + 10 * one_cell(6, 6)
    assert signatures.hot_spots(torch.stack([even(), one_cell(), two])).tolist() == [0, 1, 2]


def test_cells_that_touch_at_a_corner_are_one_hot_spot():
    assert int(signatures.hot_spots(one_cell(1, 1) + one_cell(2, 2))) == 1


def test_a_winding_hot_spot_is_one():
    snake = torch.zeros(9, 9)
    snake[::4] = 1
    snake[1:4, 8] = 1
    snake[5:8, 0] = 1
    assert int(signatures.hot_spots(snake)) == 1


def test_equal_maps_overlap_fully_and_separate_ones_not_at_all():
    maps = torch.stack([one_cell(1, 1), one_cell(1, 1) * 7, one_cell(6, 6)])
    expected = torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]])
    assert torch.allclose(signatures.overlap(maps), expected)


def test_blocks_agree_on_equal_maps_and_not_on_separate_or_even_ones():
    same = torch.stack([one_cell(), 3 * one_cell(), one_cell()])
    apart = torch.stack([one_cell(1, 1), one_cell(6, 6), one_cell(3, 3)])
    flat = even().expand(3, 8, 8)
    maps = torch.stack([same, apart, flat], dim=1)
    assert signatures.agreement(maps).tolist() == pytest.approx([1, 0, 0], abs=1e-5)
    assert signatures.agreement(one_cell()[None, None]).tolist() == [1]


def test_two_of_three_blocks_that_agree_make_a_third_of_the_pairs():
    maps = torch.stack([one_cell(), one_cell(), even()])[:, None]
    assert float(signatures.agreement(maps)) == pytest.approx(1 / 3, abs=1e-5)


@pytest.mark.parametrize("measure", [signatures.entropy, signatures.peak_mass, signatures.spread, signatures.hot_spots])
def test_measures_work_on_all_leading_axes_and_in_half_precision(measure):
    maps = torch.rand(3, 4, 6, 10, generator=torch.Generator().manual_seed(0)).half()
    together = measure(maps)
    assert together.shape == (3, 4)
    apart = [[float(measure(maps[block, token])) for token in range(4)] for block in range(3)]
    assert torch.allclose(together.float(), torch.tensor(apart))


def test_measures_do_not_depend_on_the_scale_of_a_map():
    maps = torch.rand(5, 8, 8, generator=torch.Generator().manual_seed(0))
    for measure in (signatures.entropy, signatures.peak_mass, signatures.spread, signatures.overlap):
        assert torch.allclose(measure(maps), measure(maps * 1e-3), atol=1e-5)


def test_a_map_without_attention_counts_as_even():
    nothing = torch.zeros(8, 8)
    assert float(signatures.entropy(nothing)) == pytest.approx(1)
    assert int(signatures.hot_spots(nothing)) == 0


def test_a_single_cell_grid_is_no_error():
    maps = torch.ones(2, 1, 1)
    assert signatures.entropy(maps).tolist() == [0, 0] and signatures.spread(maps).tolist() == [0, 0]


def test_shares_of_a_place_sum_to_one_where_there_is_attention():
    maps = torch.rand(3, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    maps[..., 0, 0] = 0
    total = signatures.shares(maps).sum(-3)
    assert total[..., 0, 0].tolist() == [0, 0, 0]
    assert torch.allclose(total.flatten(-2)[:, 1:], torch.ones(3, 35))


def test_likeness_leaves_out_what_even_maps_share():
    maps = torch.stack([one_cell(1, 1) + even(), one_cell(1, 1), one_cell(6, 6), even()])
    like = signatures.likeness(maps)
    assert like[0].tolist() == pytest.approx([1, 1, 0, 0], abs=1e-5)
    assert float(like[3, 3]) == 0
