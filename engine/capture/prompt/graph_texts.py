"""Texts that the nodes of a queued graph encode into conditionings, found by following links upwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context

TO_CONDITIONING = ("positive", "conditioning", "guider")
"""Inputs of samplers and guiders that lead to the prompt, in the order in which they are looked for."""

TEXT_NODES = ("PrimitiveString", "PrimitiveStringMultiline")
"""Core nodes that give the text that is written in them."""

MOST_NODES = 200
"""Bound of the outputs that are looked at for one prompt."""

EncoderTexts = tuple[str | None, ...]
"""Texts that one node encodes; None for one that another node computes, or that isn't known."""

UNKNOWN: EncoderTexts = (None,)


class PromptGraph:
    """Graph of a queued prompt, read from a node upwards. Each output is read once, so that circles end.

    Args:
        lookup: returns the node of an id, None if there is none.
    """

    def __init__(self, lookup: Callable[[str], Mapping[str, Any] | None]):
        self.lookup = lookup
        self.seen: set[tuple[str, int | None]] = set()

    def before(self, node_id: str, inputs: Sequence[str]) -> list[EncoderTexts]:
        """Return the texts behind the first of these inputs that is linked, for each node that encodes any."""
        given = self._inputs(node_id)
        links = [(name, given[name]) for name in inputs if is_link(given.get(name))]
        if not links or not self._is_new(node_id, None):
            return [UNKNOWN]
        name, link = links[0]
        return self.before(link[0], TO_CONDITIONING) if name == "guider" else self.upstream(link)

    def upstream(self, link: Sequence[Any]) -> list[EncoderTexts]:
        """Return the texts of the conditioning of a link, for each node that encodes any."""
        node_id, slot = link
        if not self._is_new(node_id, slot):
            return []
        if len(self.seen) > MOST_NODES:
            return [UNKNOWN]
        node = self.lookup(node_id) or {}
        given, types = self._inputs(node_id), input_types(node)
        if any(kind == "CLIP" and name in given for name, kind in types.items()):
            return [
                tuple(self._string(given[name]) for name, kind in types.items() if kind == "STRING" and name in given)
            ]
        conditionings = [name for name, kind in types.items() if kind == "CONDITIONING" and is_link(given.get(name))]
        same = [name for name in conditionings if name == _output_name(node, slot)]
        texts = [self.upstream(given[name]) for name in same or conditionings]
        return sum(texts, []) if texts else [UNKNOWN]

    def _string(self, value: Any) -> str | None:
        """Return a text that is written in a node or in the text node that it is linked to."""
        read: set[str] = set()
        while is_link(value) and value[0] not in read:
            read.add(value[0])
            source = self.lookup(value[0]) or {}
            value = self._inputs(value[0]).get("value") if source.get("class_type") in TEXT_NODES else None
        return value if isinstance(value, str) else None

    def _inputs(self, node_id: str) -> Mapping[str, Any]:
        return (self.lookup(node_id) or {}).get("inputs", {})

    def _is_new(self, node_id: str, slot: int | None) -> bool:
        """Return whether an output, or a node's inputs for None, was not read before."""
        new = (node_id, slot) not in self.seen
        self.seen.add((node_id, slot))
        return new


def running_node() -> tuple[str, Callable[[str], Mapping[str, Any] | None]] | None:
    """Return the id of the node that runs now and the lookup of its graph; None outside of a running prompt."""
    context, graph = get_executing_context(), get_progress_state().dynprompt
    if context is None or graph is None:
        return None
    return context.node_id, lambda node_id: graph.get_node(node_id) if graph.has_node(node_id) else None


def running_graph() -> tuple[str, dict[str, Mapping[str, Any]]] | None:
    """Return the id of the node that runs now and all nodes of its graph by id; None outside of a running prompt."""
    if (running := running_node()) is None:
        return None
    graph = get_progress_state().dynprompt
    return running[0], {node_id: graph.get_node(node_id) for node_id in graph.all_node_ids()}


def is_link(value: Any) -> bool:
    """Tell whether the value of an input is a link to another node's output."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


def input_types(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the socket types of a node's inputs by name; none for a node that can't say them."""
    try:
        groups = class_of(node).INPUT_TYPES()
    except Exception:  # of another pack, which may look for files; or of no class that is there
        return {}
    described = {**groups.get("required", {}), **groups.get("optional", {})}
    return {name: spec[0] for name, spec in described.items() if isinstance(spec, tuple | list) and spec}


def _output_name(node: Mapping[str, Any], slot: int) -> str:
    """Return the name of an output, by which nodes with several conditionings have an input as well."""
    names = getattr(class_of(node), "RETURN_NAMES", None) or ()
    return str(names[slot]) if slot < len(names) else ""


def class_of(node: Mapping[str, Any]) -> Any:
    import nodes  # ComfyUI's, which is there once a prompt runs

    return nodes.NODE_CLASS_MAPPINGS.get(node.get("class_type"))
