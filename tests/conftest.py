"""What every test relies on: the pack is importable as ``diffusion_probe``, without ComfyUI."""

import os
import sys
from pathlib import Path
from random import Random

import pytest

# The models here are so small that handing work to a second thread costs more than it saves.
# Set before torch is imported; the real server that the tests start inherits it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

TESTS = Path(__file__).resolve().parent
pytest.register_assert_rewrite("support")
sys.path[:0] = [str(TESTS), str(TESTS.parent)]
import support  # noqa: E402, F401  (as `dev`; `tests` leaves the path again, its `comfy` and `server` are not ComfyUI's)

sys.path.remove(str(TESTS))
import dev  # noqa: E402, F401  (found once, its modules are importable; the root leaves the path again)
import engine  # noqa: E402, F401  (as `dev`, which is used without the pack)
from training.client import loader  # noqa: E402

loader.use_pack()  # takes the root off sys.path again


LONG_FIRST = ("tests/browser/", "tests/server/", "tests/virtual_gpu/", "tests/recipes/", "tests/benchmarks/")
"""Folders whose files take minutes, in the order in which they start."""


def pytest_collection_modifyitems(items):
    """Let long files start first: with two processes a long one at the end would leave one of them idle."""
    places = {folder: place for place, folder in enumerate(LONG_FIRST)}
    items.sort(key=lambda item: next((places[f] for f in LONG_FIRST if item.nodeid.startswith(f)), len(LONG_FIRST)))


@pytest.fixture(scope="session")
def record():
    """Writes a small dataset: ``record(folder, prompts=24, …)``, see ``support/recorded.py``."""
    from support.recorded import record

    return record


@pytest.fixture
def write_probe():
    """Writes a small attention CNN with random weights: ``write_probe(path, seed=0, **what of the card differs)``."""
    import torch
    from diffusion_probe.probe_models.probe_card import ProbeCard
    from diffusion_probe.probe_models.probe_file import new_network, save_probe

    def write(path, seed=0, **changes):
        described = {
            "kind": "attention cnn",
            "family": "FLUX",
            "blocks": ("double 1", "single 0"),
            "moments": ("20%",),
            "label": "ImageReward",
            "heads": ("ImageReward",),
            "network": {"widths": [16, 32], "layers": 1},
        }
        card = ProbeCard(**{**described, **changes})
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = new_network(card)
        save_probe(path, card, network)
        return card, network

    return write


@pytest.fixture(scope="session")
def reward_of():
    """Makes a reward of a function: ``reward_of(lambda images, prompts: …, label="brightness")``."""
    from diffusion_probe.engine.core.reward import Reward

    class FunctionReward(Reward):
        def __init__(self, function, label="brightness"):
            self.function, self.label = function, label

        def score(self, images, prompts):
            return self.function(images, prompts)

    return FunctionReward


@pytest.fixture
def draws():
    """Hostile inputs are drawn with ``Random(seed)`` for each seed of this, ten in all. The long run draws more, and
    others: ``HOSTILE_DRAWS=200 HOSTILE_SEED=7 python -m dev.test -k hostile``."""
    first, count = int(os.environ.get("HOSTILE_SEED", 0)), int(os.environ.get("HOSTILE_DRAWS", 10))
    return [Random(f"{first} {number}") for number in range(count)]
