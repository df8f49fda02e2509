"""The drawn pictures: one for each template, of the size that ComfyUI and its registry show."""

import pytest

from dev.pictures import PHOTOGRAPHED, SIDE, banner, icon, thumbnail
from training.client.paths import PACK_ROOT

TITLES = [path.stem for path in sorted((PACK_ROOT / "workflows").glob("*.json")) if path.stem != PHOTOGRAPHED]


@pytest.mark.parametrize("title", TITLES)
def test_a_template_has_a_thumbnail_of_its_own(title):
    drawn = thumbnail(title)
    assert drawn.size == (SIDE, SIDE) and len(drawn.getcolors(SIDE * SIDE)) > 20


def test_thumbnails_of_two_models_differ():
    pictures = {thumbnail(title).tobytes() for title in TITLES}
    assert len(pictures) == len(TITLES)


def test_a_title_that_nothing_draws_is_an_error():
    with pytest.raises(KeyError):
        thumbnail("Dream of prompts (SDXL)")


def test_icon_and_banner_show_one_finished_seed_in_green():
    for picture in (icon(), banner()):
        colours = {colour: count for count, colour in picture.getcolors(picture.width * picture.height)}
        assert colours[(0x4F, 0xC7, 0x8A)] > 1000
