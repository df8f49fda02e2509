"""Names of variations: their text, what they mix, and the seeds that come next."""

import math

import pytest
from diffusion_probe.engine.core.scores import SeedName
from diffusion_probe.engine.core.seed_list import (
    LARGEST_SEED,
    MOST_SEEDS,
    MOST_TEXT,
    MOST_VARIATIONS,
    candidate_names,
    listed_names,
    names_around,
    next_seed,
    seed_list,
    seed_names,
)

NAMES = {
    "507": SeedName(507),
    "507 row 3": SeedName(507, 3),
    "507 variation 512 at 0.15": SeedName(507, None, ((512, 0.15),)),
    "507 row 3 variation 512 at 0.15": SeedName(507, 3, ((512, 0.15),)),
    "507 variation 512 at 0.15 variation 3 at 0.1": SeedName(507, None, ((512, 0.15), (3, 0.1))),
    f"{LARGEST_SEED} variation {LARGEST_SEED - 1} at 0.3333333333333333": SeedName(
        LARGEST_SEED, None, ((LARGEST_SEED - 1, 1 / 3),)
    ),
    f"1 variation 2 at {0.1 + 0.2}": SeedName(1, None, ((2, 0.1 + 0.2),)),
    "1 variation 2 at 0.001": SeedName(1, None, ((2, 0.001),)),
}


@pytest.mark.parametrize("text", NAMES)
def test_a_name_is_read_as_it_is_written(text):
    assert seed_names(text) == [NAMES[text]] and str(NAMES[text]) == text
    assert NAMES[text].is_seed == text.isdecimal()


@pytest.mark.parametrize("between", [", ", " ", "\n", ";"])
def test_names_of_all_kinds_stand_in_one_list(between):
    assert seed_names(between.join(NAMES)) == list(NAMES.values())


@pytest.mark.parametrize("text", ["1 variation 2 at .5", "1 variation 2 at 0.50", "01 variation 002 at 0000.5"])
def test_a_strength_may_be_written_in_several_ways(text):
    assert seed_names(text) == [SeedName(1, None, ((2, 0.5),))]


def test_a_variation_at_strength_1_or_towards_itself_is_a_plain_seed():
    assert seed_names("7 variation 8 at 1, 7 variation 7 at 0.3") == [SeedName(8), SeedName(7)]
    assert seed_names("7 row 2 variation 8 at 1.0") == [SeedName(8, 2)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("507 variation", 'ends after "variation" where a whole number has to follow'),
        ("507 row", 'ends after "row"'),
        ("507 variation 512", 'has no strength. Write it after "at": 507 variation 512 at 0.15'),
        ("507 variation 512 0.15", "has no strength"),
        ("507 variation 512 at", 'ends after "at" where a strength has to follow'),
        ("507 variation 512 at nan", '"nan" is not the strength of a variation. Write a number from 0.001 to 1'),
        ("507 variation 512 at 0", '"0" is not the strength'),
        ("507 variation 512 at 0.0001", '"0.0001" is not the strength'),
        ("507 variation 512 at 1.01", '"1.01" is not the strength'),
        ("507 variation 512 at -0.1", '"-0.1" is not'),
        ("507 variation 512 at 1e-2", '"1e-2" is not'),
        ("507 variation 512 at inf", '"inf" is not'),
        ("507 variation 512 at 0,15", '"0" is not the strength'),
        ("507 variation 512 at 0.1_5", '"0.1_5" is not'),
        ("507 variation 512 at ٠.١", "is not the strength"),
        ("507 variation 512 at 0." + "1" * 5000, "is not the strength"),
        ("507 variation 512 at " + "9" * 5000, "is not the strength"),
        ("507 variation ٥ at 0.15", "is not a whole number"),
        ("507 variation ² at 0.15", "is not a whole number"),
        ("507 variation " + "9" * 5000 + " at 0.15", "is out of range"),
        (f"507 variation {LARGEST_SEED + 1} at 0.15", "is out of range"),
        (f"507 row {LARGEST_SEED + 1}", "is out of range"),
        ("at 0.15", '"at" in the list of seeds is not a whole number'),
        ("507 at 0.15", '"at" in the list'),
        ("507 Variation 512 at 0.15", '"Variation" in the list'),
        ("507 prompt 2", '"prompt" in the list'),
        ("507 variation 512 row 3 at 0.15", "has no strength"),
        ("7" + " variation 8 at 0.5" * (MOST_VARIATIONS + 1), "seed 7 has more than 8 variations"),
        ("7" + " variation 8 at 0.5" * 10_000, "seed 7 has more than 8 variations"),
    ],
)
def test_what_is_no_name_is_refused_in_one_sentence_that_says_why(text, says):
    with pytest.raises(ValueError) as refused:
        seed_names(text)
    assert says in str(refused.value) and len(str(refused.value)) < 300 and "\n" not in str(refused.value)


def test_a_list_that_is_too_long_is_refused_before_it_is_read():
    assert len(seed_names(("507 variation 512 at 0.15, " * MOST_SEEDS)[:MOST_TEXT])) == MOST_SEEDS
    with pytest.raises(ValueError, match=f"in at most {MOST_TEXT} characters"):
        seed_names("7 variation 8 at 0.5 " * MOST_TEXT)


def test_candidates_are_named_with_the_index_of_their_prompt():
    assert candidate_names("507, 512 prompt 2, 507 variation 9 at 0.15 prompt 4; 507 prompt 2") == [
        (SeedName(507), 0),
        (SeedName(512), 1),
        (SeedName(507, None, ((9, 0.15),)), 3),
        (SeedName(507), 1),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (" ", "There is no seed"),
        ("7 prompt 0", '"7 prompt 0" names no prompt'),
        ("7 prompt two", '"two" in the list of seeds is not a whole number'),
        ("7 prompt", 'ends after "prompt"'),
        ("7, 8, 7 prompt 1", "Seed 7 is in the list more than once"),
        ("7 prompt 2, 8, 7 prompt 2", "Seed 7 prompt 2 is in the list more than once"),
        ("7 " * (MOST_SEEDS + 1), "more than one batch takes"),
        ("7 prompt " + "9" * 99, "is out of range"),
    ],
)
def test_candidates_that_cannot_be_finished_are_refused(text, says):
    with pytest.raises(ValueError, match=says):
        candidate_names(text)


def test_a_list_for_a_search_may_have_variations_and_one_for_a_batch_may_not():
    text = "7, 7 variation 8 at 0.15"
    assert listed_names(1, 1, text) == seed_names(text) and listed_names(5, 2) == [SeedName(5), SeedName(6)]
    with pytest.raises(ValueError, match='"7 variation 8 at 0.15" is a variation of a seed, which only Seed Search'):
        seed_list(1, 1, text)
    with pytest.raises(ValueError, match="Seed 7 variation 8 at 0.15 is in the list more than once"):
        listed_names(1, 1, "7 variation 8 at 0.15, 7 variation 8 at 0.150")


def test_the_noises_of_a_variation_are_weighted_by_cosine_and_sine():
    angle, second = 0.15 * math.pi / 2, 0.1 * math.pi / 2
    assert SeedName(7).weights() == {7: 1.0}
    assert SeedName(7, 3, ((8, 0.15),)).weights() == {7: math.cos(angle), 8: math.sin(angle)}
    nested = SeedName(7, None, ((8, 0.15), (9, 0.1))).weights()
    assert nested == pytest.approx(
        {7: math.cos(second) * math.cos(angle), 8: math.cos(second) * math.sin(angle), 9: math.sin(second)}
    )
    assert list(nested) == [7, 8, 9]


@pytest.mark.parametrize(
    "variations", [((8, 0.5), (8, 0.5)), ((8, 0.3), (7, 0.3)), ((8, 0.1), (9, 0.2), (7, 0.9), (8, 0.4))]
)
def test_a_mixture_with_a_seed_twice_has_the_variance_of_a_noise(variations):
    weights = SeedName(7, None, variations).weights()
    assert sum(weight**2 for weight in weights.values()) == pytest.approx(1)
    assert len(weights) == len({7, *(seed for seed, _ in variations)})


def test_a_batch_around_a_seed_varies_it_towards_each_of_its_seeds():
    seeds = [SeedName(512), SeedName(507), SeedName(3)]
    assert [str(name) for name in names_around("507", 0.15, seeds)] == [
        "507 variation 512 at 0.15", "507", "507 variation 3 at 0.15",
    ]  # fmt: skip
    assert [str(name) for name in names_around("507 variation 512 at 0.15", 0.1, seeds[2:])] == [
        "507 variation 512 at 0.15 variation 3 at 0.1"
    ]
    assert names_around("507", 1, seeds) == seeds and names_around(" \n", math.nan, seeds) == seeds


@pytest.mark.parametrize(
    ("around", "strength", "says"),
    [
        ("507", 0, "is 0, so every candidate would be the same image. Set the strength between 0.001 and 1"),
        ("507", 0.0, "would be the same image"),
        ("507", math.nan, "the strength is nan, which is out of range"),
        ("507", -0.5, "out of range"),
        ("507", 1.5, "out of range"),
        ("507", 1e-9, "out of range"),
        (
            "five",
            0.15,
            '"around" is "five". Give one seed from 0 to 18446744073709551615, or the name of one variation',
        ),
        ("5, 6", 0.15, '"around" is "5, 6"'),
        ("٥", 0.15, '"around" is '),
        ("9" * 5000, 0.15, '"around" is '),
        ("5" + " variation 6 at 0.5" * MOST_VARIATIONS, 0.15, "has more than 8 variations"),
        ("5" + " variation 6 at 0.5" * 99, 0.15, '"around" is '),
    ],
)
def test_a_batch_around_what_is_no_seed_or_with_no_strength_is_refused(around, strength, says):
    with pytest.raises(ValueError) as refused:
        names_around(around, strength, [SeedName(512)])
    assert says in str(refused.value) and len(str(refused.value)) < 400


@pytest.mark.parametrize("text", ["7, 8 variation 9 at 0.15", "5 row 3"])
def test_only_plain_seeds_are_varied_towards(text):
    with pytest.raises(ValueError, match='because it is no single seed. Clear "around"'):
        names_around("507", 0.15, seed_names(text))


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("40, 41, 42", 43),
        ("42, 7, 9", 43),
        ("0", 1),
        (str(LARGEST_SEED), 0),
        (f"7, {LARGEST_SEED}", 0),
        (str(LARGEST_SEED - 1), LARGEST_SEED),
        (f"{LARGEST_SEED - 2}, {LARGEST_SEED - 1}", 0),
        (f"{LARGEST_SEED - 3}, {LARGEST_SEED - 2}", LARGEST_SEED - 1),
        ("507 variation 5 at 0.15, 507 variation 6 at 0.15", 7),
        ("507 variation 9999 at 0.15 variation 5 at 0.1, 3", 6),
        ("7 row 3", 8),
    ],
)
def test_the_next_batch_starts_after_the_largest_seed_of_this_one_or_at_0(text, after):
    names = seed_names(text)
    assert next_seed(names) == next_seed(names * 3) == after
    assert len(seed_list(after, len(names))) == len(names)
