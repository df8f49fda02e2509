"""Import of the pack and of ComfyUI outside of ComfyUI's server.

Both have something called ``nodes``: the pack a folder, ComfyUI a module. With the pack's root on
``sys.path``, ``import nodes`` inside ComfyUI would find the folder. So the root is taken off the
path and the pack is imported as ``diffusion_probe``; its own imports are relative and work under
any name, in ComfyUI too.
"""

import importlib.util
import os
import sys

from .paths import PACK_ROOT, comfyui_path

PACKAGE = "diffusion_probe"


def use_pack() -> None:
    """Make ``import diffusion_probe`` find this pack, without ComfyUI; a second call does nothing."""
    if PACKAGE in sys.modules:
        return
    here = os.path.realpath(PACK_ROOT)
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or os.getcwd()) != here]
    spec = importlib.util.spec_from_file_location(
        PACKAGE, PACK_ROOT / "__init__.py", submodule_search_locations=[str(PACK_ROOT)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = module
    spec.loader.exec_module(module)


def use_comfy() -> None:
    """Make the pack and ComfyUI's modules (``comfy``, ``nodes``, ``folder_paths`` …) importable.

    Call before anything imports torch-heavy ComfyUI code. Runs on the GPU if torch sees one, else
    with ``--cpu``. The caller's own command line is hidden from ComfyUI's argument parser.

    Raises:
        SystemExit: there is no ComfyUI or no torch yet; the message says what to run.
    """
    use_pack()
    tree = comfyui_path()
    if not (tree / "comfy" / "options.py").is_file():
        raise SystemExit(f"No ComfyUI at {tree}. Run `make setup` (or `python -m dev.setup`), or set COMFYUI_PATH.")
    if str(tree) not in sys.path:
        sys.path.insert(0, str(tree))
    try:
        import torch  # noqa: F401
    except ImportError:
        raise SystemExit(
            f"There is no torch in {sys.executable}. Run `make setup`, then use .venv/bin/python."
        ) from None
    argv, sys.argv = sys.argv, ["comfyui", *device_arguments()]
    try:
        import comfy.options

        comfy.options.enable_args_parsing()
        import comfy.cli_args  # noqa: F401  (parses the arguments now)
    finally:
        sys.argv = argv


def device_arguments() -> list[str]:
    """Return ComfyUI's arguments for this machine's device: none on a GPU, ``--cpu`` without one."""
    import torch

    gpu = torch.cuda.is_available() or torch.backends.mps.is_available() or torch.xpu.is_available()
    return [] if gpu else ["--cpu"]
