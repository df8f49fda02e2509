"""The benchmarks' modules, ComfyUI's in process, and fixtures of the tests that need them."""

import sys

from training.client import loader
from training.client.paths import PACK_ROOT

loader.use_comfy()
sys.path.insert(0, str(PACK_ROOT))
import benchmarks  # noqa: E402, F401  (found once, its modules are importable; the root leaves the path again)

sys.path.remove(str(PACK_ROOT))

from support.comfy_fixtures import (  # noqa: E402, F401
    flux,
    ksampler,
    nothing_dead_stays_loaded,
    probe,
    row_counts,
    small_model,
    temp_folder,
)
