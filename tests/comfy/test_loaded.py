"""Models of running samplers: loaded for their calls, and left alone where nothing has to move."""

from types import SimpleNamespace

import comfy.model_management
import pytest
import torch
from diffusion_probe.engine.runs.loaded import load_for, loading_once, memory_of_card

GIB = 2**30
RESERVED = comfy.model_management.extra_reserved_memory()


class Model:
    """A model of 10 GiB on a device with some memory free."""

    load_device = torch.device("cuda", 0)

    def __init__(self, free):
        self.free = free

    def is_dynamic(self):
        return False

    def get_free_memory(self, device):
        return self.free


@pytest.fixture
def loads(monkeypatch):
    """What ComfyUI was told to load: (models, memory wanted, least memory)."""
    calls = []

    def load_models_gpu(models, memory_required=0, minimum_memory_required=None):
        calls.append((models, memory_required, minimum_memory_required))

    monkeypatch.setattr(comfy.model_management, "load_models_gpu", load_models_gpu)
    return calls


@pytest.fixture
def guider(monkeypatch):
    def make(free, loaded=10 * GIB):
        model = Model(free)
        entry = SimpleNamespace(
            model=model, device=model.load_device, model_memory=lambda: 10 * GIB, model_loaded_memory=lambda: loaded
        )
        monkeypatch.setattr(comfy.model_management, "current_loaded_models", [entry])
        return SimpleNamespace(model_patcher=model, loaded_models=[])

    return make


def test_a_model_stays_as_it_is_where_the_memory_is_free(guider, loads):
    load_for([guider(free=4 * GIB)], 3 * GIB)
    assert not loads


def test_a_model_makes_place_for_its_calls(guider, loads):
    one = guider(free=1 * GIB)
    load_for([one, one], 3 * GIB)
    assert loads == [([one.model_patcher], 3 * GIB, 3 * GIB)]


def test_weights_that_were_put_aside_come_back_when_there_is_place(guider, loads):
    load_for([guider(free=2 * GIB + RESERVED, loaded=8 * GIB)], 2 * GIB)
    assert not loads, "nothing would fit"
    load_for([guider(free=4 * GIB + RESERVED, loaded=8 * GIB)], 2 * GIB)
    assert len(loads) == 1


def test_a_model_that_another_has_put_away_is_loaded(guider, loads, monkeypatch):
    one = guider(free=20 * GIB)
    monkeypatch.setattr(comfy.model_management, "current_loaded_models", [])
    load_for([one], GIB)
    assert len(loads) == 1
    load_for([], GIB)
    assert len(loads) == 1


def test_comfyui_loads_for_a_run_only_what_is_not_there(guider, loads):
    there, other = guider(free=4 * GIB).model_patcher, Model(free=4 * GIB)
    with loading_once():
        comfy.model_management.load_models_gpu([there], memory_required=6 * GIB, minimum_memory_required=3 * GIB)
        assert not loads
        comfy.model_management.load_models_gpu([other], memory_required=6 * GIB, minimum_memory_required=3 * GIB)
        assert loads.pop() == ([other], 3 * GIB, 3 * GIB)
        comfy.model_management.load_models_gpu([there], memory_required=6 * GIB)
        assert loads.pop() == ([there], 6 * GIB, None), "as before without a least memory"
    comfy.model_management.load_models_gpu([there], memory_required=6 * GIB, minimum_memory_required=3 * GIB)
    assert loads == [([there], 6 * GIB, 3 * GIB)]


def test_what_loaded_models_hold_counts_as_memory_for_calls(guider, monkeypatch):
    model = guider(free=0).model_patcher
    monkeypatch.setattr(comfy.model_management, "get_free_memory", lambda device: 2 * GIB)
    assert memory_of_card(model) == 12 * GIB - RESERVED
