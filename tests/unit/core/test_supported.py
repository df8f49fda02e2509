"""A ComfyUI that is too old is told so in one sentence, before anything is imported that it lacks."""

import asyncio
import importlib.util
import logging
import sys
from types import SimpleNamespace

import pytest
from diffusion_probe import comfy_entrypoint
from diffusion_probe.engine.core.supported import OLDEST_COMFYUI, why_too_old

from training.client.paths import PACK_ROOT

OLDEST = ".".join(map(str, OLDEST_COMFYUI))
NEEDED = f"Diffusion Probe needs ComfyUI {OLDEST} or newer, and this is "


@pytest.fixture
def comfyui(monkeypatch):
    """Pretends that this runs in a ComfyUI of a version."""
    return lambda version: monkeypatch.setitem(sys.modules, "comfyui_version", SimpleNamespace(__version__=version))


@pytest.mark.parametrize("version", ["0.16.4", "0.20.1", "0.3.64", "v0.3.64", "0.18"])
def test_an_old_comfyui_gets_one_sentence_instead_of_nodes(comfyui, version):
    comfyui(version)
    with pytest.raises(RuntimeError) as raised:  # and no AttributeError of a module that it lacks
        asyncio.run(comfy_entrypoint())
    assert str(raised.value) == f"{NEEDED}{version}: update ComfyUI."


@pytest.mark.parametrize("version", [OLDEST, "0.30.0", "0.33.0", "0.100.0", "1.0", "nightly", "", None])
def test_newer_and_unknown_versions_are_not_refused(version):
    assert why_too_old(version) is None


@pytest.mark.parametrize(("version", "warned"), [("0.3.40", True), (OLDEST, False)])
def test_a_comfyui_that_asks_no_entrypoint_is_warned_on_import(comfyui, caplog, monkeypatch, version, warned):
    comfyui(version)
    monkeypatch.setitem(sys.modules, "comfy_api.latest", None)  # an old version has none
    spec = importlib.util.spec_from_file_location(
        "probe_in_old_comfyui", PACK_ROOT / "__init__.py", submodule_search_locations=[str(PACK_ROOT)]
    )
    module = sys.modules["probe_in_old_comfyui"] = importlib.util.module_from_spec(spec)
    try:
        with caplog.at_level(logging.WARNING):
            spec.loader.exec_module(module)
    finally:
        for name in [name for name in sys.modules if name.startswith("probe_in_old_comfyui")]:
            del sys.modules[name]
    assert [record.message for record in caplog.records] == [f"{NEEDED}{version}: update ComfyUI."] * warned


def test_pyproject_and_readme_ask_for_the_version_that_the_code_asks_for():
    assert f'requires-comfyui = ">={OLDEST}"' in (PACK_ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f"ComfyUI {OLDEST} or newer" in (PACK_ROOT / "README.md").read_text(encoding="utf-8")
