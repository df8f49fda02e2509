"""The screenshots themselves, taken by ``tests/browser/screenshots.mjs`` and made small here."""

import argparse
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from training.client.paths import PACK_ROOT

from .browser import BROWSER_TESTS
from .server import ComfyServer, ServerError
from .steps import step

PORTRAITS = PACK_ROOT / "web" / "docs" / "images"
VIEWS = PACK_ROOT / "docs" / "pictures"
MOST_BYTES = 60_000
PORTRAIT_PX = (640, 1100)


def save_small(picture: Path, folder: Path) -> Path:
    """Save a PNG as WebP; one of a node alone, whose help page shows it, in at most 60 kB."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{picture.stem}.webp"
    image = Image.open(picture).convert("RGB")
    if folder == PORTRAITS:
        image.thumbnail(PORTRAIT_PX)
    for quality in (85, 70, 55, 40):
        image.save(target, "WEBP", quality=quality, method=6)
        if folder != PORTRAITS or target.stat().st_size <= MOST_BYTES:
            break
    return target


def main() -> None:
    """Start the server, take the pictures, stop it."""
    parser = argparse.ArgumentParser(prog="python -m dev.screenshots", description=__doc__.splitlines()[0])
    parser.add_argument("node", nargs="*", help="only these nodes, by their ids (default: all, and README's pictures)")
    nodes = parser.parse_args().node
    with tempfile.TemporaryDirectory() as taken, step("Taking screenshots"):
        try:
            with ComfyServer() as server:
                script = ["node", "screenshots.mjs", server.url, taken, *nodes]
                done = subprocess.run(script, cwd=BROWSER_TESTS, capture_output=True, text=True)
        except ServerError as error:
            raise SystemExit(str(error)) from None
        if done.returncode:
            raise SystemExit(f"The screenshots failed.\n{done.stdout}{done.stderr}")
        for picture in sorted(Path(taken).glob("*.png")):
            save_small(picture, PORTRAITS if picture.stem.startswith("DiffusionProbe") else VIEWS)


if __name__ == "__main__":
    main()
