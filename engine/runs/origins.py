"""Origins of the code on a MODEL, in words that a user knows: the nodes that put it there."""

import sys
from collections.abc import Iterable
from types import CellType, FunctionType
from typing import Any

import numpy as np
from torch import Generator, Tensor, nn

OURS = __name__.rpartition(".")[0].rpartition(".")[0]

_CORE = frozenset(
    {*sys.stdlib_module_names, "torch", "numpy", "comfy", "comfy_api", "comfy_execution", "PIL", "aiohttp", "server",
     "safetensors", "transformers", "einops", "scipy", "execution", "folder_paths", "greenlet"}
)  # fmt: skip


def is_ours(code: Any) -> bool:
    """Return whether a function or class is this pack's."""
    module = getattr(code, "__module__", None) or ""
    return module == OURS or module.startswith(OURS + ".")


def is_core(code: Any) -> bool:
    """Return whether a function or class belongs to Python, a library, ComfyUI's own core or this pack."""
    return is_ours(code) or (getattr(code, "__module__", None) or "builtins").partition(".")[0] in _CORE


def origin_of(code: Any) -> str:
    """Return the display name of the node that a function or class belongs to, else its module; empty for core code."""
    if is_core(code):
        return ""
    owner = (getattr(code, "__qualname__", "") or "").partition(".")[0]
    return _display_names().get((code.__module__, owner)) or _module_name(code.__module__)


def _display_names() -> dict[tuple[str, str], str]:
    """Return the names of all registered nodes by module and class."""
    comfy_nodes = sys.modules.get("nodes")
    classes = getattr(comfy_nodes, "NODE_CLASS_MAPPINGS", {})
    names = getattr(comfy_nodes, "NODE_DISPLAY_NAME_MAPPINGS", {})
    return {(kind.__module__, kind.__name__): names.get(node) or node for node, kind in classes.items()}


def _module_name(module: str) -> str:
    """Return the name of a module for users: of a custom node pack the folder's name."""
    path = module.replace("\\", "/")
    if "custom_nodes/" in path:
        return path.rpartition("custom_nodes/")[2].partition("/")[0].partition(".")[0]
    return path.rpartition("/")[2]


def listed(origins: Iterable[str]) -> str:
    """Return up to three names for a message, or a phrase for none."""
    names = sorted({origin for origin in origins if origin})
    if not names:
        return "another pack's code on this MODEL"
    return ", ".join(f'"{name}"' for name in names[:3]) + (" and others" if len(names) > 3 else "")


def bears_data(value: Any, depth: int = 4) -> bool:
    """Return whether a value may depend on the latents of a call: a tensor, fraction or module, or a container."""
    if isinstance(value, Tensor | np.ndarray | float | complex | nn.Module | Generator | np.generic):
        return True
    if depth == 0:
        return False
    return any(bears_data(inner, depth - 1) for inner in _inner(value))


def _inner(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return value
    if isinstance(value, FunctionType):
        return [_content(cell) for cell in value.__closure__ or ()]
    return [] if isinstance(value, type) or is_core(type(value)) else list(getattr(value, "__dict__", {}).values())


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None
