"""``python -m training record …`` in the pack's folder, or ``python PACK/training record …`` anywhere.

The second way is for a Python that looks for no modules in the current folder, as that of ComfyUI's
portable build for Windows.
"""

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
sys.path[:] = [str(_HERE.parent), *(entry for entry in sys.path if Path(entry).resolve() != _HERE)]

from training.client import loader  # noqa: E402  (after the path)

loader.use_comfy()

from diffusion_probe.training import command  # noqa: E402  (after the loader)

command.main()
