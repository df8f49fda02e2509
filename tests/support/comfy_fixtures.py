"""Fixtures of the tests that run ComfyUI in process: small models, samplers and probes.

The ``conftest.py`` of a folder imports them after ``loader.use_comfy()``.
"""

import functools

import comfy.model_base
import comfy.model_management
import folder_paths
import pytest
from diffusion_probe.dev.random_models import random_flux
from diffusion_probe.engine.rewards.files import FOLDER

from support.probes import MeanOfX0
from support.sampling import SmallModel, sample


@pytest.fixture(autouse=True)
def nothing_dead_stays_loaded():
    """ComfyUI collects garbage at each load as long as it has a model whose patchers are gone, which takes seconds in
    a process with many modules."""
    yield
    loaded = comfy.model_management.current_loaded_models
    loaded[:] = [model for model in loaded if not model.is_dead()]


@pytest.fixture(autouse=True)
def temp_folder(tmp_path, monkeypatch):
    """The test's own folder in place of ComfyUI's temp folder, which previews are written to."""
    monkeypatch.setattr(folder_paths, "get_temp_directory", lambda: str(tmp_path))


@pytest.fixture
def flux():
    """A small FLUX with random weights, whose attention is far from flat."""
    return random_flux(seed=0, scale=1.5)


@pytest.fixture(scope="session")
def small_model():
    """``small_model("Qwen-Image")``: a :class:`SmallModel`, built once for the whole session."""
    return functools.cache(SmallModel)


@pytest.fixture
def reward_models(tmp_path, monkeypatch):
    """An empty folder for reward models, the only one that ComfyUI knows of."""
    extensions = folder_paths.folder_names_and_paths[FOLDER][1]
    folder = tmp_path / "reward_models"
    folder.mkdir()
    monkeypatch.setitem(folder_paths.folder_names_and_paths, FOLDER, ([str(folder)], extensions))
    return folder


@pytest.fixture
def ksampler():
    """A stock KSampler run in process, on a batch of latents of 8 x 12 (4 x 6 image tokens)."""
    return sample


@pytest.fixture
def row_counts(monkeypatch):
    """The rows of every model call, counted from outside: a wrapper on the MODEL would be one of another pack."""
    counts, original = [], comfy.model_base.BaseModel._apply_model

    def apply_model(self, x, *args, **kwargs):
        counts.append(len(x))
        return original(self, x, *args, **kwargs)

    monkeypatch.setattr(comfy.model_base.BaseModel, "_apply_model", apply_model)
    return counts


@pytest.fixture
def probe():
    """A probe that needs everything and scores by the mean of x0."""
    return MeanOfX0()
