"""The pack in the real frontend, in headless Chromium. The steps themselves are in ``*.test.mjs``."""

import os
import subprocess
from pathlib import Path

import pytest

from runtime.link import linked_name
from runtime.paths import OUTPUT, comfyui_path
from runtime.server import ComfyServer

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def server(tmp_path_factory, record):
    """A server whose models are its own, with a small dataset ``small`` to train on."""
    models = tmp_path_factory.mktemp("models")
    with ComfyServer(extra_arguments=("--models-directory", str(models))) as running:
        record(running.output_directory / "probe_data" / "small")
        yield running


@pytest.mark.parametrize("script", sorted(HERE.glob("*.test.mjs")), ids=lambda path: path.name)
def test_in_chromium(server, script):
    """Screenshots are kept in ``output/browser``."""
    screenshots = OUTPUT / "browser"
    screenshots.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "COMFYUI_URL": server.url,
        "PACK_NAME": linked_name(comfyui_path()),
        "SCREENSHOTS": str(screenshots),
    }
    done = subprocess.run(
        ["node", "--test", "--test-reporter=spec", str(script)],
        cwd=HERE, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\nComfyUI's log ends:\n{server.log_tail()}"
