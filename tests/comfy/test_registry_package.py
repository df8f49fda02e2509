"""What the registry packs, by ``.comfyignore``, is all that the nodes need and little more."""

import asyncio
import importlib.util
import os
import shutil
import subprocess
import sys

import pytest

from support.marks import some_long
from training.client.paths import PACK_ROOT, comfyui_path

pytestmark = pytest.mark.skipif(not (PACK_ROOT / ".git").exists(), reason="the registry packs what git tracks")


def tracked(*arguments: str) -> set[str]:
    listed = subprocess.run(["git", "ls-files", *arguments], cwd=PACK_ROOT, capture_output=True, text=True, check=True)
    return set(listed.stdout.splitlines())


@pytest.fixture
def packed(tmp_path):
    """The packed files in a folder of their own."""
    files = tracked() - tracked("--cached", "--ignored", "--exclude-from=.comfyignore")
    for name in files:
        if (PACK_ROOT / name).is_file():
            target = tmp_path / "packed" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PACK_ROOT / name, target)
    return tmp_path / "packed"


def test_the_packed_files_alone_bring_every_node_and_load_the_testbed(packed, monkeypatch):
    from diffusion_probe.nodes import NODES

    spec = importlib.util.spec_from_file_location(
        "packed_probe", packed / "__init__.py", submodule_search_locations=[str(packed)]
    )
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "packed_probe", module)
    spec.loader.exec_module(module)

    async def ids():
        return [node.GET_SCHEMA().node_id for node in await (await module.comfy_entrypoint()).get_node_list()]

    assert asyncio.run(ids()) == [node.GET_SCHEMA().node_id for node in NODES]
    loader = sys.modules["packed_probe.nodes.testbed"].LoadTestbedModel
    for name in loader.GET_SCHEMA().inputs[0].options:
        assert len(loader.execute(name).result) == 3
    for name in [name for name in sys.modules if name.startswith("packed_probe.")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("isolated", some_long([False, True], [True]))
def test_the_packed_files_alone_run_the_command_line_of_training(packed, tmp_path, isolated):
    # An isolated Python has no current folder among its paths, as that of the portable build for Windows.
    start, folder = (["-I", str(packed / "training")], tmp_path) if isolated else (["-m", "training"], packed)
    command = [sys.executable, *start, "record", "--help"]
    environment = {**os.environ, "COMFYUI_PATH": str(comfyui_path())}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "--prompts" in done.stdout, done.stderr


def test_what_develops_and_measures_the_pack_is_left_out(packed):
    rooms = {path.name for path in packed.iterdir()}
    assert not rooms & {"tests", "benchmarks", "dev", "docs", ".ci", ".github", "Makefile"}
    assert {"README.md", "LICENSE", "pyproject.toml", "nodes", "web", "locales", "workflows"} <= rooms
