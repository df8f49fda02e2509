"""Core nodes that patch a MODEL, found in ComfyUI's own registry, and a way to run one."""

import asyncio
from collections.abc import Mapping
from functools import cache
from typing import Any

import nodes as comfy_nodes

MODEL = "MODEL"


@cache
def patching_nodes() -> dict[str, type]:
    """Return core's nodes, of either API, that take a MODEL and return one, by name."""
    asyncio.run(comfy_nodes.init_builtin_extra_nodes())
    nodes = {}
    for name, node in comfy_nodes.NODE_CLASS_MAPPINGS.items():
        core = getattr(node, "RELATIVE_PYTHON_MODULE", "nodes").partition(".")[0] in ("nodes", "comfy_extras")
        takes = any(kind[0] == MODEL for kind in inputs_of(node).values())
        if core and takes and MODEL in node.RETURN_TYPES:
            nodes[name] = node
    return dict(sorted(nodes.items()))


def inputs_of(node: type) -> dict[str, tuple]:
    """Return a node's inputs by name: (type or choices, options)."""
    sections = node.INPUT_TYPES()
    return {name: kind for part in ("required", "optional") for name, kind in sections.get(part, {}).items()}


def defaults_of(node: type) -> dict[str, Any]:
    """Return the values that a node's widgets start with."""
    values = {}
    for name, (kind, *rest) in inputs_of(node).items():
        options = rest[0] if rest else {}
        choices = kind if isinstance(kind, list) else options.get("options")
        if "default" in options:
            values[name] = options["default"]
        elif choices:
            values[name] = choices[0]
    return values


def apply_node(name: str, model: Any, arguments: Mapping[str, Any]) -> Any:
    """Run a node and return its MODEL.

    Args:
        name: of the node.
        model: for its first MODEL input.
        arguments: what differs from its widgets' defaults.
    """
    node = patching_nodes()[name]
    first = next(key for key, kind in inputs_of(node).items() if kind[0] == MODEL)
    values = {**defaults_of(node), **arguments, first: model}
    if hasattr(node, "EXECUTE_NORMALIZED"):
        outputs = node.EXECUTE_NORMALIZED(**values).result
    else:
        outputs = getattr(node(), node.FUNCTION)(**values)
    return outputs[list(node.RETURN_TYPES).index(MODEL)]
