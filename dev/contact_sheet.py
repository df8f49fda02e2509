"""One picture of all candidates: what each looks like, its seed, score and rank, kept or dropped."""

import math

from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from .run_outcome import Candidate

TILE, GAP, CAPTION, HEADING = 192, 12, 40, 60
PAPER, INK, PALE = "#ffffff", "#1a1a1a", "#767676"
KEPT, DROPPED = "#1a7f37", "#b3b3b3"


def contact_sheet(
    candidates: list[Candidate], pictures: list[Image.Image | None], heading: str, prompt: str = ""
) -> Image.Image:
    """Draw the sheet, candidates in row order, dropped ones dimmed.

    Args:
        pictures: one per candidate: the finished image of a kept one, the preview of a dropped one,
            None where there is neither.
        heading: a line above; cut when it is too long for the sheet.
        prompt: text that the images were sampled for, on a line of its own, cut likewise.
    """
    columns = max(4, math.ceil(math.sqrt(len(candidates))))
    rows = math.ceil(len(candidates) / columns)
    size = (GAP + columns * (TILE + GAP), HEADING + GAP + rows * (TILE + CAPTION + GAP))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(15), ImageFont.load_default(13)
    draw.text((GAP, GAP), _cut(heading, draw, large, size[0] - 2 * GAP), fill=INK, font=large)
    draw.text((GAP, GAP + 22), _cut(" ".join(prompt.split()), draw, small, size[0] - 2 * GAP), fill=PALE, font=small)
    for place, (candidate, picture) in enumerate(zip(candidates, pictures, strict=True)):
        x = GAP + place % columns * (TILE + GAP)
        y = HEADING + GAP + place // columns * (TILE + CAPTION + GAP)
        if picture is None:
            draw.text((x + TILE // 3, y + TILE // 2), "no preview", fill=PALE, font=small)
        else:
            sheet.paste(_tile(picture, candidate.kept), (x, y))
        border = KEPT if candidate.kept else DROPPED
        draw.rectangle((x, y, x + TILE - 1, y + TILE - 1), outline=border, width=4 if candidate.kept else 1)
        state = "kept" if candidate.kept else "dropped"
        draw.text((x, y + TILE + 3), f"{candidate.score:.4g}   #{candidate.rank}", fill=INK, font=small)
        draw.text((x, y + TILE + 19), f"seed {candidate.seed}", fill=PALE, font=small)
        draw.text((x + TILE, y + TILE + 3), state, fill=KEPT if candidate.kept else PALE, font=small, anchor="ra")
    return sheet


def _tile(picture: Image.Image, kept: bool) -> Image.Image:
    """Draw the picture fitted into a square tile; small ones are enlarged without smearing their pixels."""
    scale = TILE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    method = Image.Resampling.NEAREST if scale > 4 else Image.Resampling.LANCZOS
    fitted = picture.convert("RGB").resize(size, method)
    if not kept:
        fitted = ImageEnhance.Color(fitted).enhance(0.75)
        fitted = Image.blend(fitted, Image.new("RGB", size, PAPER), 0.3)
    tile = Image.new("RGB", (TILE, TILE), PAPER)
    tile.paste(fitted, ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return tile


def _cut(text: str, draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont, width: int) -> str:
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(text + "…", font) > width:
        text = text[:-1]
    return text + "…"
