"""Prompts become the ids that the reward models were trained on."""

import comfy.sd1_clip
import pytest
from diffusion_probe.dev.random_rewards import WORDS
from diffusion_probe.engine.rewards.word_ids import BertWords, clean_clip_words, clip_words
from transformers import BertTokenizer

PROMPTS = ["a red circle", "Two CATS, sitting; on a café's mat!", "猫 and naïve dogs (8k) — “so”", "cat " * 60, ""]


@pytest.fixture
def vocabulary(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join((*WORDS, "cat", "##s", ",", "'", "“")) + "\n", encoding="utf-8")
    return path


def test_image_reward_reads_a_prompt_as_transformers_bert_does(vocabulary):
    lines = vocabulary.read_text(encoding="utf-8").split()
    expected = BertTokenizer(vocab={word: number for number, word in enumerate(lines)}, do_lower_case=True)
    expected = expected(PROMPTS, padding="max_length", truncation=True, max_length=35)["input_ids"]
    ids = BertWords(vocabulary, len(lines) + 2)(PROMPTS)
    assert ids.shape == (5, 35)
    assert ids.tolist() == expected
    assert len({tuple(row) for row in ids.tolist()}) == 5


def test_a_long_prompt_is_cut_and_still_ends(vocabulary):
    lines = vocabulary.read_text(encoding="utf-8").split()
    assert BertWords(vocabulary, len(lines) + 2)(PROMPTS)[3, -1] == lines.index("[SEP]")
    assert clip_words(PROMPTS)[3].tolist()[0] == 49406 and clip_words(PROMPTS)[3, -1] == 49407


def test_clip_ids_are_those_of_comfyuis_own_text_encoder():
    (tokens,) = comfy.sd1_clip.SDTokenizer().tokenize_with_weights(PROMPTS[1])
    assert clip_words(PROMPTS[1:2])[0].tolist() == [token for token, _ in tokens]


@pytest.mark.parametrize(
    "written, read", [("“so” it’s", '"so" it\'s'), ("salt &amp;amp; pepper", "salt & pepper"), ("a \n  b ", "a b")]
)
def test_open_clips_cleaning_is_done_for_the_rewards_that_were_trained_with_it(written, read):
    assert clean_clip_words([written]).tolist() == clip_words([read]).tolist()
    if written != "a \n  b ":  # white space makes no difference to either
        assert clip_words([written]).tolist() != clip_words([read]).tolist()


@pytest.mark.parametrize("count", [1, 75, 76, 200])
def test_clip_counts_all_words_of_a_prompt_and_reads_75(count):
    for words in (clip_words, clean_clip_words):
        assert words.most == 75 and words.count("cat " * count) == count and words.knows("猫")
        cut = (words(["cat " * count])[0] == words(["cat"])[0, 1]).sum().item()
        assert cut == min(count, 75)


@pytest.mark.parametrize("count", [1, 33, 34, 150])
def test_image_reward_counts_all_words_of_a_prompt_and_reads_33(vocabulary, count):
    lines = vocabulary.read_text(encoding="utf-8").split()
    words = BertWords(vocabulary, len(lines) + 2)
    assert words.most == 33 and words.count("cat " * count) == count
    assert (words(["cat " * count]) == lines.index("cat")).sum().item() == min(count, 33)


def test_image_reward_says_whether_it_knows_any_word(vocabulary):
    words = BertWords(vocabulary, len(WORDS) + 7)
    assert words.knows("a cat") and words.knows("猫 cat")
    assert not words.knows("猫 犬") and not words.knows("")
