"""The pack in the real frontend, in headless Chromium. The steps themselves are in ``*.test.mjs``."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from dev.link import linked_name
from dev.server import ComfyServer
from support.marks import some_long
from training.client.paths import OUTPUT, PACK_ROOT, comfyui_path
from training.client.workflow import to_prompt

HERE = Path(__file__).parent
LONG = ("board_page", "node_texts", "seed_selection", "training")
"""Scripts that only ``make test-all`` runs: together they take as long as all others."""

SCRIPTS = sorted(HERE.glob("*.test.mjs"))


@pytest.fixture(scope="module")
def server(tmp_path_factory, record):
    """A server whose models are its own, with a small dataset ``small`` to train on."""
    models = tmp_path_factory.mktemp("models")
    with ComfyServer(extra_arguments=("--models-directory", str(models))) as running:
        record(running.output_directory / "probe_data" / "small")
        yield running


@pytest.mark.parametrize(
    "script", some_long(SCRIPTS, [HERE / f"{name}.test.mjs" for name in LONG]), ids=lambda path: path.name
)
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


def test_saved_workflows_become_the_prompts_that_the_frontend_sends(server):
    """Hand-made files of every kind in ``saved`` (subgraphs, files of 2023, muted nodes …), and what the pack ships."""
    files = sorted(map(str, [*HERE.glob("saved/*.json"), *PACK_ROOT.glob("workflows/*.json")]))
    done = subprocess.run(
        ["node", "prompts.mjs", server.url, *files], cwd=HERE, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    sent, info = json.loads(done.stdout), server.client.object_info()
    assert sent.keys() == set(files)
    for file in files:
        ours = to_prompt(json.loads(Path(file).read_text(encoding="utf-8")), info)
        assert without_titles(ours) == without_titles(sent[file]), file


def without_titles(prompt):
    """The frontend's titles are in the user's language, and the server ignores them."""
    return {number: (node["class_type"], node["inputs"]) for number, node in prompt.items()}
