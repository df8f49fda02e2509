"""What the files of finished rows say."""

import pytest
from diffusion_probe.engine.core.scores import Scores, SeedName
from diffusion_probe.engine.selection.naming import row_labels

THREE = Scores((0.25, 0.75, 0.5), (SeedName(7), SeedName(2**64 - 1), SeedName(9, 2)), "p", "q", "20%", 5, True)


def test_a_scored_row_carries_seed_score_and_rank():
    labels = row_labels(3, THREE)
    assert [label.file_name for label in labels] == [
        "seed_7_score_0.25_rank_3",
        "seed_18446744073709551615_score_0.75_rank_1",
        "seed_9_row_2_score_0.5_rank_2",
    ]
    assert labels[0].metadata == {"seed": 7, "score": 0.25, "rank": 3, "scored_by": "p at 20%: q"}
    assert labels[2].metadata["seed"] == "9 row 2"


@pytest.mark.parametrize("text", ["7, 8 ,9 row 2", "7 8\n9 row 2", "7;8;9 row 2,"])
def test_seeds_alone_are_read_as_the_nodes_write_them(text):
    labels = row_labels(3, seeds=text)
    assert [label.file_name for label in labels] == ["seed_7", "seed_8", "seed_9_row_2"]
    assert labels[0].metadata == {"seed": 7}


def test_variations_are_named_in_files_whose_names_stay_short():
    most = 2**64 - 1
    text = (
        f"507 variation 512 at 0.15; 7 row 3 variation 8 at 0.5; {most} variation {most} at 0.{'1' * 16} {most} row 9"
    )
    long = f"507 row 4 {' '.join(f'variation {most - n} at 0.{n}23456789' for n in range(1, 9))}"
    names = [label.file_name for label in row_labels(5, seeds=f"{text}, {long}")]
    assert names == [
        "seed_507_variation_512_at_0.15",
        "seed_7_row_3_variation_8_at_0.5",
        f"seed_{most}",
        f"seed_{most}_row_9",
        f"seed_507_8_variations_{most - 8}_at_0.823",
    ]
    labels = row_labels(1, seeds=f"{most} variation {most - 1} at 0.1234567890123")
    assert labels[0].file_name == f"seed_{most}_1_variations_{most - 1}_at_0.123" and len(labels[0].file_name) <= 71
    assert labels[0].metadata["seed"] == f"{most} variation {most - 1} at 0.1234567890123"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ((4, THREE), "4 images but 3 scores.*the kept scores"),
        ((1, None, "7, 8"), "1 images but 2 seeds"),
        ((1, None, "  "), "neither scores nor seeds.*Connect"),
        ((1, None, "../etc"), '"../etc" in the list of seeds is not a whole number.*7, 8, 42'),
        ((1, None, "-7"), "is not a whole number"),
    ],
)
def test_labels_that_do_not_fit_are_refused_with_the_fix(call, says):
    with pytest.raises(ValueError, match=says):
        row_labels(*call)


def test_a_row_without_a_score_is_named_by_its_seed_and_the_others_are_ranked():
    scores = Scores((float("nan"), 0.25, 0.5), tuple(map(SeedName, (1, 2, 3))), "p", "q", "20%", 5, True)
    names = [label.file_name for label in row_labels(3, scores)]
    assert names == ["seed_1", "seed_2_score_0.25_rank_2", "seed_3_score_0.5_rank_1"]
