"""The contact sheet shows every candidate, and kept ones unmistakably."""

import pytest

pytest.importorskip("PIL")
from PIL import Image  # noqa: E402

from dev.contact_sheet import CAPTION, GAP, HEADING, KEPT, TILE, contact_sheet  # noqa: E402
from dev.run_outcome import Candidate  # noqa: E402


def corner(place):
    return GAP + place * (TILE + GAP), HEADING + GAP


def test_the_kept_one_has_the_border_and_the_full_colour():
    candidates = [Candidate("7", 0.25, 2, False), Candidate("8", 0.75, 1, True)]
    red = Image.new("RGB", (64, 64), "#ff0000")
    sheet = contact_sheet(candidates, [red, red], "focus at 20%")
    x, y = corner(1)
    assert sheet.getpixel((x + 1, y + 1)) == tuple(bytes.fromhex(KEPT[1:]))
    assert sheet.getpixel((x + TILE // 2, y + TILE // 2)) == (255, 0, 0)
    x, y = corner(0)
    assert sheet.getpixel((x + TILE // 2, y + TILE // 2)) != (255, 0, 0)


@pytest.mark.parametrize("count, columns, rows", [(1, 4, 1), (16, 4, 4), (17, 5, 4), (64, 8, 8)])
def test_the_sheet_grows_with_the_candidates(count, columns, rows):
    candidates = [Candidate(str(n), 0.5, n + 1, False) for n in range(count)]
    sheet = contact_sheet(candidates, [None] * count, "x" * 500)
    assert sheet.size == (GAP + columns * (TILE + GAP), HEADING + GAP + rows * (TILE + CAPTION + GAP))


def test_the_prompt_stands_below_the_heading():
    candidates = [Candidate("7", 0.25, 1, True)]
    line = (0, GAP + 20, TILE, HEADING)
    with_prompt, without = (contact_sheet(candidates, [None], "focus", text).crop(line) for text in ("a red fox", ""))
    assert without.getcolors() == [(without.width * without.height, (255, 255, 255))] != with_prompt.getcolors()
