"""What every test relies on: the pack is importable as ``diffusion_probe``, without ComfyUI."""

import os
import sys
from pathlib import Path

# The models here are so small that handing work to a second thread costs more than it saves.
# Set before torch is imported; the real server that the tests start inherits it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = str(Path(__file__).resolve().parent.parent)
sys.path.insert(0, ROOT)
from runtime import loader  # noqa: E402

loader.use_pack()  # takes the root off sys.path again; `runtime` and `benchmarks` stay importable
