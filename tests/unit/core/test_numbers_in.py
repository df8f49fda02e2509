"""Numbers out of what nodes of other packs give."""

import numpy as np
import pytest
import torch
from diffusion_probe.engine.core.numbers_in import numbers_in


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (["0.5, 0.25; 1e-3\n-2"], [0.5, 0.25, 0.001, -2.0]),
        (["[0.5, 1]"], [0.5, 1.0]),
        (["7", "8"], [7.0, 8.0]),
        ([1, 0.5, True], [1.0, 0.5, 1.0]),
        ([[0.5, 0.25]], [0.5, 0.25]),
        ([torch.tensor([0.5, 0.25])], [0.5, 0.25]),
        ([np.array([[1, 2]])], [1.0, 2.0]),
        ([np.float32(0.5)], [0.5]),
        (["", "  "], []),
        ([], []),
    ],
)
def test_texts_lists_and_arrays_give_their_numbers_in_order(values, numbers):
    assert numbers_in(values) == numbers


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["0.5, good"], '"good" is not a number. Give numbers alone'),
        ([0.5, float("nan")], "number 2 is nan"),
        (["inf"], "number 1 is inf"),
        ([None], '"None" is not a number'),
        ([{"score": 1}], "is not a number"),
        ([10**400], "is not a number"),
    ],
)
def test_what_is_no_finite_number_is_quoted(values, says):
    with pytest.raises(ValueError, match=says):
        numbers_in(values)
