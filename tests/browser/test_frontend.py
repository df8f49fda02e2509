"""The pack in the real frontend, in headless Chromium. The steps themselves are in ``*.test.mjs``."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from dev.link import linked_name
from dev.server import ComfyServer
from support.marks import some_long
from support.saved import saved
from training.client.paths import OUTPUT, PACK_ROOT, comfyui_path
from training.client.workflow import to_prompt

HERE = Path(__file__).parent
LONG = ("board_page", "node_texts", "training")
"""Scripts that only ``make test-all`` runs: together they take as long as all others."""

SCRIPTS = sorted(HERE.glob("*.test.mjs"))
SHIPPED = sorted(PACK_ROOT.glob("workflows/*.json"))


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
        cwd=HERE, env=environment, capture_output=True, text=True, timeout=2400,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\nComfyUI's log ends:\n{server.log_tail()}"


def sent_by_the_frontend(server, files):
    """What the frontend sends for workflow files when Run is pressed, by file."""
    done = subprocess.run(
        ["node", "prompts.mjs", server.url, *map(str, files)], cwd=HERE, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    sent = json.loads(done.stdout)
    assert sent.keys() == set(map(str, files))
    return {Path(file): prompt for file, prompt in sent.items()}


def test_saved_workflows_become_the_prompts_that_the_frontend_sends(server):
    """Hand-made files of every kind in ``saved`` (subgraphs, files of 2023, muted nodes …), and what the pack ships."""
    info = server.client.object_info()
    for file, sent in sent_by_the_frontend(server, [*HERE.glob("saved/*.json"), *SHIPPED]).items():
        ours = to_prompt(json.loads(file.read_text(encoding="utf-8")), info)
        assert without_titles(ours) == without_titles(sent), file


@pytest.mark.long
def test_the_frontend_sends_for_an_old_template_what_it_was_saved_for(server, tmp_path):
    """The templates of both earlier versions, value by value."""
    first, prompts = saved("workflows"), saved("prompts")
    old = {f"first {name}": (workflow, prompts[name]) for name, workflow in first.items()}
    old |= {f"0.2 {name}": (each["workflow"], each["prompt"]) for name, each in saved("templates").items()}
    for name, (workflow, _) in old.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(workflow), encoding="utf-8")
    for file, sent in sent_by_the_frontend(server, sorted(tmp_path.glob("*.json"))).items():
        then = old[file.stem][1]
        assert {number: node["class_type"] for number, node in sent.items()} == {
            number: node["class_type"] for number, node in then.items()
        }
        for number, node in then.items():
            inputs = sent[number]["inputs"]
            assert {name: inputs.get(name) for name in node["inputs"]} == node["inputs"], (file.stem, number)


def without_titles(prompt):
    """The frontend's titles are in the user's language, and the server ignores them."""
    return {number: (node["class_type"], node["inputs"]) for number, node in prompt.items()}
