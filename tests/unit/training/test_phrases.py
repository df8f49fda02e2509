"""Parts of a prompt: phrases, what is said of the first one, and the same the other way round."""

import pytest
from diffusion_probe.training.dataset.phrases import MOST, prompt_phrases


def test_phrases_and_what_later_ones_say_of_the_first_are_parts():
    assert prompt_phrases("A red fox on a hill and under a tree", 10) == {
        "red fox": (1, 2),
        "hill": (5,),
        "tree": (9,),
        "red fox on a hill": (1, 2, 3, 4, 5),
        "red fox under a tree": (1, 2, 7, 8, 9),
        "hill on a red fox": (5, 3, 4, 1, 2),
        "tree under a red fox": (9, 7, 8, 1, 2),
    }


def test_what_says_nothing_of_the_first_phrase_is_not_turned_round():
    assert set(prompt_phrases("red hair, studio light", 4)) == {"red hair", "studio light"}


def test_punctuation_ends_a_phrase():
    assert set(prompt_phrases("portrait, red hair, studio light", 5)) >= {"portrait", "red hair", "studio light"}


def test_a_part_s_text_is_made_of_the_words_whose_numbers_it_has():
    prompt = "a small cat with a blue hat beside the old door, oil painting, wide shot"
    words = prompt.replace(",", "").split()
    parts = prompt_phrases(prompt, len(words))
    assert len(parts) == MOST and parts == prompt_phrases(prompt, len(words))
    assert all(text == " ".join(words[number] for number in numbers) for text, numbers in parts.items())


@pytest.mark.parametrize("prompt, words", [("a cat, (red:1.2) hat", 4), ("fox", 1), ("", 0), ("of the", 2)])
def test_prompts_with_words_not_captured_or_of_one_phrase_have_no_phrases(prompt, words):
    assert prompt_phrases(prompt, words) == {}
