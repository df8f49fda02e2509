"""Texts that a stranger wrote: quoted so that anything can be done with them, and read in linear time."""

import errno
import subprocess
import sys
import time

import pytest
from diffusion_probe.engine.capture.moments import parse_moments
from diffusion_probe.engine.capture.prompt.alignment import piece_words
from diffusion_probe.engine.core import texts
from diffusion_probe.engine.core.names import can_be_inside, leads_out, parts_of
from diffusion_probe.engine.core.prompt_words import Word, named_words, numbered, word_spans
from diffusion_probe.engine.core.seed_list import seed_list
from diffusion_probe.engine.core.texts import can_be_logged, half_character, quoted, writable, writable_values
from diffusion_probe.engine.selection.naming import row_labels
from diffusion_probe.testbed.scenes import parse_prompt
from diffusion_probe.training.dataset.phrases import prompt_phrases

LONG = 40_000
PART = 8000
CPU_SECONDS = 5
"""Of processor time, not of the clock, so that a busy machine changes nothing. The slowest takes 1.5 on one of 2020."""

SHAPES = {
    "one digit again and again": "1" * LONG,
    "digits and a row": "1" * LONG + " row",
    "rows of digits": "1 row " * (LONG // 6),
    "digits of many lines": "7\n" * (LONG // 2),
    "separators": ", ;" * (LONG // 3),
    "blanks before a percent": "20" + " " * LONG + "%",
    "percents": "20%," * (LONG // 4),
    "one letter": "a" * LONG,
    "words": "red fox " * (LONG // 8),
    "names of words": ",".join(f"w{number}" for number in range(LONG // 6)),
    "what is no word": "-" * LONG,
    "half a phrase of the testbed": "a small red " * (LONG // 12),
    "brackets": "((" * (LONG // 2),
    "emoji": "🦊\u200d" * (LONG // 2),
    "accents": "e\u0301" * (LONG // 2),
    "no spaces": "红色" * (LONG // 2),
}


def _ask(text):
    return named_words(numbered((text[a:b], [n]) for n, (a, b) in enumerate(word_spans(text))), text)


READERS = {
    "seeds": lambda text: seed_list(0, 1, text),
    "seeds of images": lambda text: row_labels(1, None, text),
    "moments": parse_moments,
    "words of a prompt": word_spans,
    "words that are asked for": _ask,
    "parts of a prompt": lambda text: prompt_phrases(text, len(word_spans(text))),
    "a prompt of the testbed": parse_prompt,
    "pieces of a tokenizer": lambda text: piece_words(text[:PART], [text[n : n + 3] for n in range(0, PART, 3)], False),
    "unknown pieces": lambda text: piece_words(text[:PART], ["<unk>", "x"] * (PART // 4), False),
    "a name of a file": lambda text: can_be_inside(text, 9),
    "a quotation": quoted,
}


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_what_a_user_writes_is_read_in_time_that_grows_with_its_length(reader):
    for shape, text in SHAPES.items():
        began = time.process_time()
        try:
            READERS[reader](text)
        except ValueError as error:
            assert len(str(error)) < 2000, shape
        assert time.process_time() - began < CPU_SECONDS, shape


def test_seeds_are_counted_before_they_are_made():
    with pytest.raises(ValueError, match="more than one batch takes"):
        seed_list(0, 10**12)


def test_a_number_of_too_many_digits_is_out_of_range_and_leading_zeros_are_none():
    with pytest.raises(ValueError, match='The seed "99999999999999999999…" is out of range'):
        seed_list(0, 1, "9" * 5000)
    assert seed_list(0, 1, "0" * 5000 + "7") == [7]
    with pytest.raises(ValueError, match="no moment"):
        parse_moments("step " + "9" * 5000)


def test_words_that_are_asked_for_twice_count_once_and_too_many_are_refused():
    words = (Word("red", (1,)), Word("fox", (2,)))
    assert named_words(words, "fox, red, fox" + ", red" * 9999) == (words[1], words[0])
    with pytest.raises(ValueError, match="300 words are named. Name at most"):
        named_words(words, ",".join(map(str, range(300))))


def test_where_a_tokenizer_knows_nothing_of_a_long_text_no_word_has_pieces():
    few, many = ("☃ " * count + "fox" for count in (20, 4000))
    assert [len(pieces) for _, pieces in piece_words(few, ["<unk>"] * 20 + ["fox"], False)] == [20] * 20 + [1]
    assert piece_words(many, ["<unk>"] * 4000 + ["fox"], False) == [("fox", [4000])]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a red fox", '"a red fox"'),
        ("\ud800", '"\\ud800"'),
        ("a\nb\tc\x00", '"a\\nb\\tc\\x00"'),
        ("\u202eabc", '"\\u202eabc"'),
        ("🏳️\u200d🌈 ق\u200cط", '"🏳️\u200d🌈 ق\u200cط"'),
        ("é" * 200, '"' + "é" * 120 + '…"'),
        (7, '"7"'),
        (None, '"None"'),
    ],
)
def test_a_quotation_is_one_line_that_any_encoding_of_unicode_can_write(text, shown):
    assert quoted(text) == shown and quoted(text).encode() and quoted(text).splitlines() == [shown]


def test_what_can_be_written_stays_as_it_is():
    for text in ("", "plain", "“ρ ≥ é”", "红色 🦊"):
        assert writable(text) == text and half_character(text) is None
    assert writable("a\ud800“") == "a\\ud800“" and half_character("a\ud800“") == 1
    assert writable("“a” ≥ 红", "cp1252") == "“a” \\u2265 \\u7ea2"
    values = {"\ud800": ["\udfff", 1, None, ("a", {"b": 2.5})]}
    assert writable_values(values) == {"\\ud800": ["\\udfff", 1, None, ("a", {"b": 2.5})]}


def raised(error, cause=None):
    try:
        try:
            raise cause or ValueError("first")
        except ValueError as before:
            raise error from before
    except ValueError as found:
        return found


def test_an_error_can_be_logged_only_with_all_that_led_to_it(monkeypatch):
    assert can_be_logged(raised(ValueError("second")))
    assert not can_be_logged(raised(ValueError("second"), ValueError("\ud800")))
    assert not can_be_logged(raised(ValueError("\ud800")))
    monkeypatch.setattr(texts, "log_encoding", lambda: "cp437")
    assert not can_be_logged(raised(ValueError("“second”")))


DIES = """
import io, logging, sys
sys.stderr = io.TextIOWrapper(sys.stderr.buffer, encoding="utf-8", line_buffering=True)  # as ComfyUI replaces it
logging.basicConfig()
try:
    raise ValueError({message!r})
except ValueError as error:
    logging.error(f"{{error}}")
print("lives")
"""


@pytest.mark.parametrize(("message", "lives"), [("a \ud800 fox", False), (writable("a \ud800 fox"), True)])
def test_a_thread_that_logs_half_a_character_dies_and_one_that_can_write_lives(message, lives):
    """Why all of this is done: what ComfyUI's worker does, in small."""
    done = subprocess.run([sys.executable, "-c", DIES.format(message=message)], capture_output=True, text=True)
    assert ("lives" in done.stdout) == lives, done.stderr


@pytest.mark.parametrize(
    ("name", "can"),
    [
        ("mine", True),
        ("mine/faces", True),
        ("名前/é", True),
        ("", False),
        (".", False),
        ("a\x00b", False),
        ("a\nb", False),
        ("\ud800", False),
        ("../a", False),
        ("a/../../b", False),
        ("/a", False),
        ("C:a", False),
        ("\\\\server\\a", False),
        ("a" * 246, False),
        ("a" * 245, True),
        ("é" * 130, False),
        ("a/" * 600 + "a", False),
    ],
)
def test_a_name_can_be_a_file_inside_of_a_folder_or_not(name, can, tmp_path):
    assert can_be_inside(name, longer_by=10) == can
    if can:
        path = tmp_path / f"{name}{'x' * 10}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert tmp_path in path.resolve().parents


def test_a_path_is_taken_apart_however_it_is_written():
    ways = ("testbed/flux/joint", "./testbed/flux/joint", "testbed\\flux\\joint", ".\\testbed//flux/./joint")
    assert {parts_of(way) for way in ways} == {("testbed", "flux", "joint")}
    assert not any(map(leads_out, ways))


def test_every_name_that_is_refused_could_not_have_been_written(tmp_path):
    for name in ("a\x00b", "\ud800", "a" * 256):
        with pytest.raises((OSError, ValueError)) as refused:
            (tmp_path / name).touch()
        assert not isinstance(refused.value, OSError) or refused.value.errno == errno.ENAMETOOLONG
