"""Pictures of rows: small, and of the right row."""

import base64
import io

import numpy as np
import pytest
import torch
from diffusion_probe.engine.board.pictures import (
    MOST_BYTES,
    MOST_LARGE_BYTES,
    MOST_MAP_BYTES,
    large_picture,
    looks,
    small_picture,
    word_maps,
)
from diffusion_probe.engine.core.features import Features
from diffusion_probe.engine.core.prompt_words import Word, numbered
from PIL import Image


def opened(url):
    head, data = url.split(",")
    return head, Image.open(io.BytesIO(base64.b64decode(data)))


def features(attention=None, words=()):
    return Features("flux", "20%", 5, 0.5, 0.2, attention=attention, words=tuple(words))


def test_the_busiest_picture_of_any_size_takes_ten_kilobytes_at_most():
    url = small_picture(torch.rand(768, 1344, 3))
    head, image = opened(url)
    assert head == "data:image/jpeg;base64" and image.size == (160, 91)
    assert len(base64.b64decode(url.split(",")[1])) <= MOST_BYTES


def test_the_busiest_large_picture_is_bounded_and_small_ones_are_not_enlarged():
    data = large_picture(torch.rand(768, 1344, 3))
    assert Image.open(io.BytesIO(data)).size == (512, 293) and len(data) <= MOST_LARGE_BYTES
    assert Image.open(io.BytesIO(large_picture(torch.rand(32, 48, 3)))).size == (48, 32)


def test_pictures_of_bytes_and_of_floats_are_the_same():
    picture = torch.randint(256, (96, 64, 3), dtype=torch.uint8)
    assert large_picture(picture) == large_picture(picture / 255) and small_picture(picture) == small_picture(
        picture / 255
    )


def test_a_picture_keeps_its_colours():
    red = torch.zeros(64, 64, 3)
    red[..., 0] = 1
    assert np.abs(np.asarray(opened(small_picture(red))[1], dtype=int)[32, 32] - [255, 0, 0]).max() < 8


def test_a_words_map_is_clear_where_it_is_cold_and_covers_where_it_is_hot():
    attention = torch.full((1, 2, 8, 12), 0.1)
    attention[0, 0, 2, 9] = 0.9
    ((name, url),) = word_maps(features(attention, [Word("red", (0,))]))
    head, image = opened(url)
    cover = np.asarray(image.convert("RGBA"))[..., 3]
    assert (name, head, image.size) == ("red", "data:image/png;base64", (12, 8))
    assert np.unravel_index(cover.argmax(), cover.shape) == (2, 9) and cover.max() > 150
    assert sorted(cover.flatten().tolist())[-2] == 0
    assert len(url) < 500


def test_flat_attention_gives_a_clear_map_not_an_error():
    ((_, url),) = word_maps(features(torch.full((1, 1, 4, 4), 0.2), [Word("red", (0,))]))
    assert np.asarray(opened(url)[1].convert("RGBA"))[..., 3].max() == 0


def test_without_attention_or_words_there_are_no_maps():
    assert word_maps(features()) == () and word_maps(features(torch.rand(1, 2, 4, 4))) == ()
    assert looks(None, [features(), features()]) == looks(None, [features()]) * 2


def test_the_longest_prompt_has_a_map_of_each_word_but_stop_words():
    text = "a large red circle left of the small blue square and a green star on the moon " * 5
    spelled = text.split()
    words = numbered((word, (position,)) for position, word in enumerate(spelled))
    shown = [name for name, _ in word_maps(features(torch.rand(1, len(spelled), 16, 16), words), rows=16)]
    content = ["large", "red", "circle", "left", "small", "blue", "square", "green", "star", "moon"]
    assert shown[:10] == content and len(shown) == 50 and shown[-1] == "moon (5)"


@pytest.mark.parametrize(("words", "rows"), [(12, 16), (40, 16), (90, 16), (800, 1), (5, 256), (3000, 16), (3000, 256)])
def test_maps_of_many_words_and_rows_take_a_bounded_number_of_bytes(words, rows):
    named = [Word(f"word {number}", (number,)) for number in range(words)]
    maps = word_maps(features(torch.rand(1, words, 32, 32), named), rows)
    size = rows * sum(len(url) for _, url in maps)
    assert 0 < size <= MOST_MAP_BYTES and (len(maps) == words or rows == 256 or words == 3000)


def test_a_board_of_thousands_of_rows_has_no_maps():
    assert word_maps(features(torch.rand(1, 1, 32, 32), [Word("red", (0,))]), rows=4096) == ()
