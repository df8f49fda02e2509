"""Where words lie in a text, how they are named and asked for, and which pieces spell them."""

import pytest
import torch
from diffusion_probe.engine.capture.prompt.alignment import BYTES, piece_words
from diffusion_probe.engine.core.features import ALL_TEXT, Features
from diffusion_probe.engine.core.prompt_words import Word, content_words, named_words, numbered, word_spans


def split(text):
    return [text[start:end] for start, end in word_spans(text)]


@pytest.mark.parametrize(
    "text, words",
    [
        ("a red circle, left of 2 squares.", ["a", "red", "circle", "left", "of", "2", "squares"]),
        ("the girl's well-known 'quoted' -- dash-", ["the", "girl's", "well-known", "quoted", "dash"]),
        ("blue_eyes (red) 3.5", ["blue", "eyes", "red", "3", "5"]),
        ("红色的圆，cat座", ["红", "色", "的", "圆", "cat", "座"]),
        ("ネコ と がっこう", ["ネ", "コ", "と", "が", "っ", "こ", "う"]),
        ("a 🐱 and 👩🏽‍🚀 or ❤️🔥", ["a", "🐱", "and", "👩🏽‍🚀", "or", "❤️", "🔥"]),
        ("हिन्दी cafe\u0301 빨간 원", ["हिन्दी", "cafe\u0301", "빨간", "원"]),
        ("", []),
        (" ,.!() ", []),
    ],
)
def test_words_are_runs_of_letters_and_digits_or_single_chinese_characters_or_emoji(text, words):
    assert split(text) == words


def test_a_word_that_comes_again_is_numbered_whatever_its_case():
    words = numbered([("Red", [1]), ("circle", [2]), ("red", [3]), ("RED", [4, 5])])
    assert words == (Word("Red", (1,)), Word("circle", (2,)), Word("red (2)", (3,)), Word("RED (3)", (4, 5)))


WORDS = numbered([(w, [n + 1]) for n, w in enumerate(["a", "red", "circle", "on", "a", "red", "square", "红", "色"])])


def test_words_are_asked_for_by_name_in_any_order_and_case():
    assert named_words(WORDS, " circle,RED (2), red,") == (WORDS[2], WORDS[5], WORDS[1])
    assert named_words(WORDS, "") == ()


def test_words_that_follow_each_other_can_be_asked_for_as_one():
    assert named_words(WORDS, "red square, 红色") == (Word("red square", (6, 7)), Word("红色", (8, 9)))


@pytest.mark.parametrize("wrong", ["green", "circle red", "red (3)", "!"])
def test_a_word_that_is_not_there_is_refused_with_those_that_are(wrong):
    with pytest.raises(
        ValueError, match=r"is not in the prompt. Its words are: a, red, circle, on, a \(2\), red \(2\)"
    ):
        named_words(WORDS, wrong)


def byte_pieces(*parts):
    """As CLIP's vocabulary writes them: bytes as characters, with its mark at the end of a word."""
    characters = {byte: character for character, byte in BYTES.items()}
    return ["".join(characters[b] for b in part.encode("latin-1")) + "</w>" for part in parts]


def test_byte_pieces_are_found_in_the_text():
    assert piece_words("A Red-haired CAT!", byte_pieces("a", "red", "-", "haired", "cat", "!"), True) == [
        ("A", [0]),
        ("Red-haired", [1, 2, 3]),
        ("CAT", [4]),
    ]


def test_the_pieces_of_a_character_cut_between_its_bytes_all_belong_to_it():
    first, second, third = (bytes([byte]).decode("latin-1") for byte in "圆".encode())
    assert piece_words("a圆b", byte_pieces("a", first, second + third, "b"), True) == [
        ("a", [0]), ("圆", [1, 2]), ("b", [3]),
    ]  # fmt: skip


def test_sentencepieces_are_found_and_a_blank_piece_belongs_to_the_word_after_it():
    assert piece_words("a  Shape, (ﬁne)", ["▁", "a", "▁Sh", "ape", ",", "▁", "(", "fine", ")"], False) == [
        ("a", [0, 1]), ("Shape", [2, 3]), ("ﬁne", [7]),
    ]  # fmt: skip


def test_one_piece_for_something_unknown_belongs_to_every_word_it_stands_for():
    words = piece_words("red 圆形 cat", ["▁red", "▁", "<unk>", "▁cat"], False)
    assert words == [("red", [0]), ("圆", [1, 2]), ("形", [1, 2]), ("cat", [3])]


def test_characters_that_a_tokenizer_drops_or_replaces_do_not_move_the_other_words():
    words = piece_words("red\u200b “big” cat", ["▁red", '▁"', "big", '"', "▁cat"], False)
    assert words == [("red", [0]), ("big", [2]), ("cat", [4])]


@pytest.mark.parametrize(
    ("text", "pieces", "words"),
    [
        ("a\x00bc cat", ["▁a"], [("a", [0])]),
        ("red", [], []),
        ("red", ["▁red", "▁and", "▁more"], [("red", [0])]),
        ("“a” b", ['▁"', "a", '"', "▁b"], [("a", [1]), ("b", [3])]),
        ("圆" * 500 + " red", ["<unk>", "▁red"], [*[("圆", [0])] * 500, ("red", [1])]),
    ],
)
def test_text_and_pieces_of_any_kind_find_together_again(text, pieces, words):
    assert piece_words(text, pieces, False) == words


def features(words=()):
    attention = torch.rand(3, 6, 2, 4, generator=torch.Generator().manual_seed(0)).half()
    return Features("flux", "20%", 5, 0.8, 0.2, attention=attention, words=words)


def test_the_map_of_a_word_is_the_sum_over_its_positions():
    row = features((Word("red", (1,)), Word("circle", (2, 4))))
    maps = row.word_maps()
    assert maps.shape == (3, 2, 2, 4) and maps.dtype == torch.float32
    assert torch.equal(maps[:, 0], row.attention[:, 1].float())
    assert torch.equal(maps[:, 1], row.attention[:, 2].float() + row.attention[:, 4].float())


def test_without_words_all_text_positions_count_as_one():
    row = features()
    assert [word.name for word in row.text_words()] == [ALL_TEXT]
    assert torch.allclose(row.word_maps()[:, 0], row.attention.float().sum(1))


def test_maps_that_were_not_captured_are_asked_for_with_the_fix():
    with pytest.raises(ValueError, match="no attention was captured. Attach a probe that needs it"):
        Features("flux", "20%", 5, 0.8, 0.2).word_maps()


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("A cat on the Moon", "cat Moon"),
        ("the dog and the other dog", "dog other dog (2)"),
        ("two cats left of no dog", "two cats left no dog"),
        ("It\u2019s a trap", "trap"),
        ("ein Hund auf der Wiese", "ein Hund auf der Wiese"),
        ("\u4e00\u53ea\u732b", "\u4e00 \u53ea \u732b"),
        ("the of and", "the of and"),
        ("", ""),
    ],
)
def test_content_words_are_those_that_depict_something(text, content):
    spans = word_spans(text)
    words = numbered((text[start:end], (number,)) for number, (start, end) in enumerate(spans))
    assert " ".join(word.name for word in content_words(words)) == content
