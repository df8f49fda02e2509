"""What pyproject.toml says agrees with the files that say the same."""

import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from dev.release import version_in
from engine.core.supported import OLDEST_COMFYUI
from training.client.paths import PACK_ROOT

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
PYPROJECT = tomllib.loads((PACK_ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements(path: str) -> list[str]:
    lines = (line.split("#")[0].strip() for line in (PACK_ROOT / path).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def test_dependencies_are_those_of_requirements_txt():
    assert PYPROJECT["project"]["dependencies"] == requirements("requirements.txt")


def test_the_extra_dev_is_what_set_up_installs():
    assert PYPROJECT["project"]["optional-dependencies"]["dev"] == requirements("dev/requirements-dev.txt")


def test_the_registry_asks_for_the_oldest_comfyui_that_the_pack_takes():
    assert PYPROJECT["tool"]["comfy"]["requires-comfyui"] == ">=" + ".".join(map(str, OLDEST_COMFYUI))


def test_icon_and_banner_are_in_the_repository_and_have_the_registry_s_shapes():
    address = f"{PYPROJECT['project']['urls']['Repository']}/main/".replace("github.com", "raw.githubusercontent.com")
    for name, shape in (("Icon", (400, 400)), ("Banner", (1260, 540))):
        path = PYPROJECT["tool"]["comfy"][name].removeprefix(address)
        assert Image.open(PACK_ROOT / path).size == shape


def test_the_version_is_three_numbers_which_the_release_reads_too():
    version = PYPROJECT["project"]["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert version_in((PACK_ROOT / "pyproject.toml").read_text(encoding="utf-8")) == version


def test_tests_run_in_a_clone_whose_name_is_no_name_of_a_package(tmp_path):
    """``git clone`` makes a folder ``diffusion-probe``, and its ``__init__.py`` imports relatively."""
    clone = tmp_path / "diffusion-probe"
    (clone / "tests").mkdir(parents=True)
    shutil.copy(PACK_ROOT / "pyproject.toml", clone)
    (clone / "__init__.py").write_text("from .engine import nothing\n")
    (clone / "tests" / "test_one.py").write_text("def test_one():\n    assert 1\n")
    done = subprocess.run([sys.executable, "-m", "pytest", "-q"], cwd=clone, capture_output=True, text=True)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout
