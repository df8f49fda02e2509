"""What pyproject.toml says agrees with the files that say the same."""

import re

import pytest

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


def test_the_version_is_three_numbers_which_the_release_reads_too():
    version = PYPROJECT["project"]["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert version_in((PACK_ROOT / "pyproject.toml").read_text(encoding="utf-8")) == version
