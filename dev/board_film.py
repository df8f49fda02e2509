"""README's moving picture, a Seed Search whose board fills: ``python -m dev.board_film``.

Records the frames from the running server with the browser of ``python -m dev.setup``, and writes
``docs/pictures/board.webp``.
"""

import json
import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

from training.client.paths import PACK_ROOT

from .browser import BROWSER_TESTS
from .server import ComfyServer, ServerError
from .steps import step

FILM = PACK_ROOT / "docs" / "pictures" / "board.webp"
WIDTH_PX = 640
MOST_BYTES = 1_000_000
LONGEST_MS, LAST_MS = 1500, 4000
"""Milliseconds that one frame is shown at most, and that the last one is shown."""


def read_frames(folder: Path) -> tuple[list[Image.Image], list[int]]:
    """Return the frames that differ from the one before, of one size, and how many milliseconds each was seen."""
    taken = json.loads((folder / "frames.json").read_text(encoding="utf-8"))
    pictures = [Image.open(folder / frame["file"]).convert("RGB") for frame in taken]
    size = (max(picture.width for picture in pictures), max(picture.height for picture in pictures))
    frames, starts = [], []
    for picture, frame in zip(pictures, taken, strict=True):
        whole = Image.new("RGB", size, picture.getpixel((2, picture.height - 2)))
        whole.paste(picture)
        whole = whole.resize((WIDTH_PX, round(WIDTH_PX * size[1] / size[0])), Image.Resampling.LANCZOS)
        if not frames or ImageChops.difference(frames[-1], whole).getbbox():
            frames.append(whole)
            starts.append(frame["at"])
    durations = [min(LONGEST_MS, after - before) for before, after in zip(starts, starts[1:])]
    return frames, [*durations, LAST_MS]


def save_film(frames: list[Image.Image], durations: list[int]) -> None:
    """Write the film in the best quality that stays below the limit.

    Raises:
        ValueError: no quality does.
    """
    for quality in (80, 65, 50, 35):
        frames[0].save(
            FILM, "WEBP", save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=quality, method=6
        )
        if FILM.stat().st_size <= MOST_BYTES:
            return
    raise ValueError(f"{FILM.name} has {FILM.stat().st_size} bytes; at most {MOST_BYTES} are accepted: make it smaller")


def main() -> None:
    """Start the server, record the board, stop the server, write the film."""
    with tempfile.TemporaryDirectory() as taken, step("Recording the board"):
        try:
            with ComfyServer() as server:
                script = ["node", "board_film.mjs", server.url, taken]
                done = subprocess.run(script, cwd=BROWSER_TESTS, capture_output=True, text=True)
        except ServerError as error:
            raise SystemExit(str(error)) from None
        if done.returncode:
            raise SystemExit(f"The recording failed.\n{done.stdout}{done.stderr}")
        save_film(*read_frames(Path(taken)))


if __name__ == "__main__":
    main()
