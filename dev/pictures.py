"""The drawn pictures of the pack: ``python -m dev.pictures`` writes thumbnails of templates, the icon and the banner.

The thumbnail of "Choose from 16 seeds (no downloads)" is the contact sheet that ``make demo`` leaves, and is not drawn.
"""

import re
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from training.client.paths import PACK_ROOT

TEMPLATES = PACK_ROOT / "workflows"
PICTURES = PACK_ROOT / "docs" / "pictures"
PHOTOGRAPHED = "Choose from 16 seeds (no downloads)"

SIDE = 512
"""Height and width of a thumbnail in pixels."""

BACK, EMPTY, EDGE, FULL = "#14171f", "#1c222b", "#2b323d", "#2c394d"
TEXT, FAINT, GREEN, GREY = "#eef1f5", "#8f9aa9", "#4fc78a", "#5a6470"
BEST = 6
"""Index of the tile that wins."""


class Sheet:
    """A square picture with a heading, onto which tiles are drawn."""

    def __init__(self, heading: str, line: str):
        self.image = Image.new("RGB", (SIDE, SIDE), BACK)
        self.draw = ImageDraw.Draw(self.image)
        self.write((28, 24), heading, 40, TEXT)
        self.write((28, 78), line, 20, FAINT)

    def write(self, at: tuple[float, float], text: str, size: int, colour: str, anchor: str = "la") -> None:
        """Write a line of text."""
        self.draw.text(at, text, colour, ImageFont.load_default(size), anchor)

    def tile(self, box: tuple[float, float, float, float], chosen: bool, label: str = "", share: float | None = None):
        """Draw one image: chosen or not, with its score as a bar below it."""
        self.draw.rounded_rectangle(box, 8, FULL if chosen else EMPTY, GREEN if chosen else EDGE, 4 if chosen else 2)
        left, top, right, bottom = box
        self.write(((left + right) / 2, (top + bottom) / 2), label, 16, TEXT if chosen else GREY, "mm")
        if share is not None:
            self.draw.rounded_rectangle((left, bottom + 8, right, bottom + 18), 5, EMPTY)
            end = left + 10 + share * (right - left - 10)
            self.draw.rounded_rectangle((left, bottom + 8, end, bottom + 18), 5, GREEN if chosen else GREY)

    def tiles(self, top: float, rows: int, height: float, chosen: set[int], bars: bool, gap: float = 14) -> None:
        """Draw rows of four numbered images."""
        for number in range(4 * rows):
            left, upper = 28 + number % 4 * 116, top + number // 4 * (height + gap + (20 if bars else 0))
            share = 0.85 + number % 3 * 0.05 if number in chosen else 0.25 + number * 7 % 5 * 0.1
            box = (left, upper, left + 104, upper + height)
            self.tile(box, number in chosen, f"seed {number + 1}", share if bars else None)


def _choose(model: str) -> Image.Image:
    sheet = Sheet(model, "16 seeds: you finish the ones you like")
    sheet.tiles(122, 4, 80, {1, BEST, 11}, bars=False)
    for number in (1, BEST, 11):
        sheet.write((28 + number % 4 * 116 + 88, 122 + number // 4 * 94 + 14), "+", 24, GREEN, "mm")
    return sheet.image


def _reward(model: str) -> Image.Image:
    sheet = Sheet(model, "a reward picks 1 of 16 seeds")
    sheet.tiles(118, 4, 62, {BEST}, bars=True)
    return sheet.image


def _filter(model: str) -> Image.Image:
    sheet = Sheet(model, "8 seeds for a few steps, the best 2 to the end")
    sheet.tiles(132, 2, 110, {1, BEST}, bars=True, gap=36)
    return sheet.image


def _gate(model: str) -> Image.Image:
    sheet = Sheet(model, "4 seeds for a few steps: finish, or rewrite?")
    sheet.tiles(118, 1, 92, set(), bars=True)
    sheet.draw.rounded_rectangle((166, 260, 346, 298), 19, EMPTY, GREEN, 2)
    sheet.write((256, 279), "good enough?", 18, TEXT, "mm")
    sheet.draw.line((346, 279, 410, 279), GREY, 2)
    sheet.write((378, 262), "yes", 15, FAINT, "mm")
    sheet.write((418, 279), "finish", 18, FAINT, "lm")
    sheet.write((256, 330), "no: rewrite the prompt, same seeds", 18, TEXT, "mm")
    sheet.tiles(360, 1, 104, {0, 1, 2, 3}, bars=False)
    return sheet.image


def _loop(model: str) -> Image.Image:
    sheet = Sheet(model, "the prompt is rewritten until its seeds score high")
    for row, (top, score) in enumerate(((122, 0.35), (238, 0.55), (354, 0.85))):
        sheet.tiles(top, 1, 66, {BEST - 4} if row == 2 else set(), bars=False)
        sheet.draw.rounded_rectangle((28, top + 74, 484, top + 84), 5, EMPTY)
        sheet.draw.rounded_rectangle((28, top + 74, 28 + 456 * score, top + 84), 5, GREEN if row == 2 else GREY)
        if row < 2:
            sheet.write((256, top + 100), "rewrite, same seeds", 16, FAINT, "mm")
    return sheet.image


def _cache(model: str) -> Image.Image:
    sheet = Sheet(model, "part of the steps predicted")
    for top, title, computed in (
        (130, "with the cache", {0, 1, 2, 5, 8, 11, 14, 17, 19}),
        (314, "all computed", set(range(20))),
    ):
        sheet.tile((28, top, 148, top + 120), True)
        sheet.write((172, top + 6), title, 20, TEXT)
        for step in range(20):
            left = 172 + step * 15.4
            sheet.draw.rounded_rectangle(
                (left, top + 52, left + 11, top + 100), 3, GREEN if step in computed else EMPTY, EDGE
            )
    sheet.write((172, 474), "green: steps that the model computes", 16, FAINT)
    return sheet.image


def _record(model: str) -> Image.Image:
    sheet = Sheet(model, "record what a probe learns from")
    for column, name in enumerate(("8 %", "20 %", "40 %", "60 %", "finished")):
        left = 28 + column * 93
        sheet.write((left + 42, 128), name, 16, FAINT, "mm")
        for row in range(3):
            top = 146 + row * 116
            last = column == 4
            sheet.tile((left, top, left + 84, top + 82), last)
            if last:
                sheet.write((left + 42, top + 96), "score", 16, GREEN, "mm")
    return sheet.image


def _train(_: str) -> Image.Image:
    sheet = Sheet("Train and measure", "a probe, from recorded runs")
    sheet.draw.rounded_rectangle((28, 126, 484, 292), 8, EMPTY, EDGE, 2)
    curve = [(44 + x * 4.3, 150 + 120 * (1 - 0.965**x)) for x in range(100)]
    sheet.draw.line(curve, GREEN, 4, "curve")
    sheet.write((468, 140), "loss", 16, FAINT, "ra")
    for number, (name, share) in enumerate(
        (("chance", 0.06), ("best of n", 0.42), ("this probe", 0.71), ("the truth", 1.0))
    ):
        top = 322 + number * 44
        sheet.write((28, top + 12), name, 18, TEXT if number == 2 else FAINT, "lm")
        sheet.draw.rounded_rectangle((150, top, 484, top + 24), 6, EMPTY)
        sheet.draw.rounded_rectangle((150, top, 160 + share * 324, top + 24), 6, GREEN if number == 2 else GREY)
    return sheet.image


DRAWN: dict[str, Callable[[str], Image.Image]] = {
    "Choose": _choose,
    "Let": _reward,
    "Filter": _filter,
    "Rewrite": _gate,
    "Improve": _loop,
    "Make": _cache,
    "Record": _record,
    "Train": _train,
}
"""Functions that draw the thumbnail of a template, by the first word of its title."""


def thumbnail(title: str) -> Image.Image:
    """Draw the thumbnail of a template by its title, which ends with the model in brackets.

    Raises:
        KeyError: nothing draws templates whose titles begin so.
    """
    model = re.search(r"\((.+)\)$", title)
    return DRAWN[title.split()[0]](model[1] if model else title)


def icon(side: int = 400) -> Image.Image:
    """Draw the icon: nine seeds, of which one is finished."""
    image = Image.new("RGB", (side, side), BACK)
    draw, cell = ImageDraw.Draw(image), side / 4
    for number in range(9):
        left, top = (0.5 + 1.05 * (number % 3)) * cell - 4, (0.5 + 1.05 * (number // 3)) * cell - 4
        box = (left, top, left + 0.9 * cell, top + 0.9 * cell)
        chosen = number == 4
        draw.rounded_rectangle(box, cell / 7, GREEN if chosen else FULL, EDGE, 2)
        if not chosen:
            grain = 0.9 * cell / 6
            for spot in range(36):
                if spot * (number + 3) % 7 < 2:
                    x, y = left + spot % 6 * grain, top + spot // 6 * grain
                    draw.rectangle((x + 3, y + 3, x + grain - 3, y + grain - 3), GREY)
    return image


def banner(width: int = 1260, height: int = 540) -> Image.Image:
    """Draw the banner, 21:9: a row of seeds on their way, the name of the pack, and what it does."""
    image = Image.new("RGB", (width, height), BACK)
    draw = ImageDraw.Draw(image)
    image.paste(icon(360), (60, 90))
    draw.text((470, 170), "Diffusion Probe", TEXT, ImageFont.load_default(86), "la")
    draw.text((474, 292), "See what many seeds are becoming.", FAINT, ImageFont.load_default(38), "la")
    draw.text((474, 342), "Finish the good ones.", GREEN, ImageFont.load_default(38), "la")
    return image


def main() -> None:
    """Write all pictures."""
    for path in sorted(TEMPLATES.glob("*.json")):
        if path.stem != PHOTOGRAPHED:
            _write(thumbnail(path.stem), path.with_suffix(".jpg"))
    _write(icon(), PICTURES / "icon.png")
    _write(banner(), PICTURES / "banner.png")


def _write(image: Image.Image, path: Path) -> None:
    image.save(path, **({"quality": 88} if path.suffix == ".jpg" else {"optimize": True}))
    print(path.relative_to(PACK_ROOT).as_posix())


if __name__ == "__main__":
    main()
