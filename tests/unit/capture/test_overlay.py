"""Heat over a picture, and captions."""

import pytest
import torch
from diffusion_probe.engine.capture.overlay import coloured, heat_overlay, with_caption, writable


def test_colours_run_from_cold_to_hot_and_get_brighter_all_the_way():
    ramp = coloured(torch.linspace(0, 1, 50))
    assert ramp[0].max() < 0.02 and torch.allclose(ramp[-1], torch.tensor([0.988, 0.998, 0.645]), atol=1e-3)
    luminance = ramp @ torch.tensor([0.2126, 0.7152, 0.0722])
    assert (luminance.diff() > 0).all()
    assert torch.equal(coloured(torch.tensor([-1.0, 2.0])), ramp[[0, -1]])


@pytest.mark.parametrize(("picture", "shape"), [((8, 12), (43, 64)), ((12, 8), (64, 43)), ((100, 100), (64, 64))])
def test_an_overlay_has_the_proportions_of_the_picture(picture, shape):
    image = heat_overlay(torch.rand(*picture, 3), torch.rand(4, 6), 0.7, 64)
    assert image.shape == (*shape, 3) and 0 <= image.min() and image.max() <= 1


def test_heat_covers_the_picture_where_it_is_hot_and_only_there():
    heat = torch.zeros(8, 8)
    heat[:, 4:] = 1
    image = heat_overlay(torch.full((64, 64, 3), 0.4), heat, 1.0, 64)
    assert torch.allclose(image[:, -8:], coloured(torch.ones(())), atol=1e-3)
    assert torch.allclose(image[:, :8], torch.tensor(0.2), atol=1e-3)


def test_without_opacity_the_picture_is_left_as_it_is():
    picture = torch.rand(64, 64, 3)
    assert torch.allclose(heat_overlay(picture, torch.rand(4, 4), 0.0, 64), picture, atol=1e-6)


def test_a_caption_is_added_below_and_cut_where_it_is_too_long():
    image = torch.rand(64, 128, 3)
    short, long = (with_caption(image, text) for text in ("red", "red " * 100))
    assert short.shape == long.shape and short.shape[0] > 64 and torch.equal(short[:64], image)
    assert short[64:].max() > 0.8 and not torch.equal(short, long)
    assert (long[64:, -4:] - long[64, 0]).abs().max() < 1e-6  # nothing runs over the edge


def test_characters_that_the_font_lacks_become_question_marks():
    assert writable("row 0: red, 7.5 %") == "row 0: red, 7.5 %"
    assert writable("圆 red") == "? red"
