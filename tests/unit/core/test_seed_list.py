"""Seeds as the user writes them."""

import pytest
from diffusion_probe.engine.core.seed_list import LARGEST_SEED, MOST_SEEDS, seed_list


def test_first_seed_and_count_give_consecutive_seeds():
    assert seed_list(40, 3) == [40, 41, 42]


@pytest.mark.parametrize("text", ["7, 8, 42", "7 8\n42", " 7;8 ;42, "])
def test_a_list_wins_over_first_seed_and_count(text):
    assert seed_list(1, 16, text) == [7, 8, 42]


def test_blank_text_is_no_list():
    assert seed_list(1, 2, " \n ") == [1, 2]


def test_the_largest_seed_is_accepted_and_one_more_is_not():
    assert seed_list(LARGEST_SEED, 1) == [LARGEST_SEED]
    with pytest.raises(ValueError, match="out of range.*18446744073709551615"):
        seed_list(LARGEST_SEED, 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("7, eight", '"eight" in the list of seeds is not a whole number'),
        ("7, -8", '"-8"'),
        ("7.5", '"7.5"'),
        ("7, 8, 7", "Seed 7 is in the list more than once"),
        ("18446744073709551616", "out of range"),
        (",;", "There is no seed"),
        ("5 row 3", "can't be drawn alone"),
        ("5, 7 variation 8 at 0.15", "only Seed Search samples"),
        ("²", "not a whole number"),
    ],
)
def test_a_list_that_cannot_be_used_says_why(text, says):
    with pytest.raises(ValueError, match=says):
        seed_list(0, 1, text)


def test_no_seeds_and_too_many_seeds_are_refused():
    with pytest.raises(ValueError, match="There is no seed"):
        seed_list(0, 0)
    with pytest.raises(ValueError, match="at most"):
        seed_list(0, MOST_SEEDS + 1)
