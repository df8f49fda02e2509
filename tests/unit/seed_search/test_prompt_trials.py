"""Trials of wordings: the best one, the next one, and what a rewriting node is given."""

from types import SimpleNamespace

import pytest
from diffusion_probe.engine.seed_search.prompt_trials import BEST, MEAN, REQUEST, Trial, Trials, wordings

PROBE = SimpleNamespace(label="truth")


def trials(*scored, rows=MEAN):
    return Trials(PROBE, tuple(Trial(prompt, scores, rows) for prompt, scores in scored))


def test_the_mean_or_the_best_seed_decides_which_wording_is_best():
    scored = ("a cat", (0.5, 0.5)), ("a dog", (0.9, 0.0))
    assert trials(*scored).best.prompt == "a cat"
    assert trials(*scored, rows=BEST).best.prompt == "a dog"


def test_the_first_of_equally_good_wordings_is_kept():
    assert trials(("a cat", (0.5,)), ("a dog", (0.5,))).best.prompt == "a cat"


def test_the_seeds_of_a_wording_are_ordered_by_their_scores():
    assert Trial("a cat", (0.1, 0.9, 0.5)).best_seeds([7, 8, 9]) == [8, 9, 7]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a cat\n\n  a dog  \na cat", ["a cat", "a dog"]),
        ("1. a cat\n2) a dog\n- a cow\n• a pig", ["a cat", "a dog", "a cow", "a pig"]),
        ('"a cat"\n“a dog”\n"a" and "b"\n"', ["a cat", "a dog", 'a" and "b', '"']),
        ("3 cats\n1.5 metres of rope", ["3 cats", "1.5 metres of rope"]),
        (" \n", []),
    ],
)
def test_each_line_is_a_wording_without_list_marks_and_quotation_marks(text, lines):
    assert wordings(text) == lines


def test_the_next_wording_is_the_first_line_that_was_not_tried():
    tried = trials(("a cat,\n on a  mat", (0.1,)), ("a dog", (0.2,)))
    assert tried.next_wording("a cat, on a mat\na dog\na cow\na pig") == "a cow"
    assert tried.next_wording('"a dog"') == ""


def test_a_request_holds_the_best_prompt_all_scores_and_the_round():
    tried = trials(("a {tried} cat", (0.25,)), ("a\ndog", (0.125, 0.125)))
    asked = tried.request("{round}: {prompt}|{tried}")
    assert asked == "2: a {tried} cat|0.25: a {tried} cat\n0.125: a dog"
    assert "Prompt: a {tried} cat\n" in tried.request(REQUEST)


def test_the_report_names_each_trial_the_chosen_one_and_the_end():
    lines = trials(("a cat", (0.25, 0.5)), ("x" * 400, (0.1, 0.1))).report(0.9, "No round is left.").splitlines()
    assert lines[0] == "truth, mean of all seeds; threshold 0.9. No round is left."
    assert lines[1] == "→ 1. 0.375 (0.25, 0.5): a cat"
    assert lines[2].startswith("  2. 0.1 (0.1, 0.1): xxx") and len(lines[2]) < 340
