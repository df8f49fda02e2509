"""How many runs share one call, from bytes alone."""

import pytest
from diffusion_probe.engine.seed_search.hub.sizes import SIZES, best_size, shape_size

GIB = 2**30


def row(count):
    """About what ComfyUI estimates for FLUX at 1024²."""
    return count * GIB


@pytest.mark.parametrize("waiting", [1, 3, 8, 10, 16, 40])
def test_all_share_a_call_where_everything_fits(waiting):
    assert best_size(waiting, 11 * GIB, 100 * GIB, row) == min(waiting, SIZES[-1])


def test_a_model_larger_than_the_card_is_moved_as_seldom_as_its_calls_fit():
    assert best_size(16, 22 * GIB, 11.5 * GIB, row) == 8
    assert best_size(16, 22 * GIB, 5 * GIB, row) == 4
    assert best_size(3, 22 * GIB, 11.5 * GIB, row) == 3, "nothing is kept for calls that do not come"


def test_weights_that_fit_are_not_pushed_out_by_larger_calls():
    memory = 7.5 * GIB
    size = best_size(15, 4.8 * GIB, memory, lambda count: count * 0.5 * GIB)
    assert size == 4 and size * 0.5 * GIB + 4.8 * GIB <= memory


def test_a_single_run_is_called_even_if_its_estimate_does_not_fit():
    assert best_size(5, 22 * GIB, 0.5 * GIB, row) == 1


def test_the_choice_moves_the_fewest_bytes_of_all_sizes():
    weights, memory = 10 * GIB, 12 * GIB

    def moved(size, waiting=16):
        return -(-waiting // size) * (max(0, weights - max(0, memory - row(size))) + weights / 20)

    assert best_size(16, weights, memory, row) == min((size for size in SIZES if row(size) <= memory), key=moved)


def test_shapes_come_from_the_short_list():
    assert [shape_size(count) for count in (1, 2, 3, 5, 9, 15, 16, 30)] == [1, 2, 2, 4, 8, 8, 16, 16]
