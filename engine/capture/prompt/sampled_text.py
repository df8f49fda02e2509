"""Text that a run's prompt was encoded from, so that images can be scored by it without another wire.

Encode Words notes the text in its conditioning. For other nodes that encode text, the graph of the running prompt is
followed upwards, to a text that is written in a node. A text that is computed, or joined from several, isn't known.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context

KEY = "diffusion_probe_text"
"""Key in a conditioning's dict of the text that Encode Words encoded."""

TO_CONDITIONING = ("positive", "conditioning", "guider")
"""Inputs of samplers and guiders that lead to the prompt, in the order in which they are looked for."""

TEXT_NODES = ("PrimitiveString", "PrimitiveStringMultiline")
"""Core nodes that give the text that is written in them."""


def sampled_text(entries: Sequence[Mapping[str, Any]], inputs: Sequence[str] = TO_CONDITIONING) -> str:
    """Return the text of a prompt; empty if it isn't known.

    Args:
        entries: the dicts of its conditioning's entries.
        inputs: inputs of the node that runs now, which lead to the conditioning; the first that is linked counts.
    """
    noted = {entry[KEY] for entry in entries if isinstance(entry.get(KEY), str)}
    context, graph = get_executing_context(), get_progress_state().dynprompt
    texts = [] if context is None or graph is None else _Graph(graph).texts_before(context.node_id, inputs)
    if noted and len(texts) < 2:  # Concat and Average keep the note of one of two texts
        return noted.pop() if len(noted) == 1 else ""
    return _the_one(texts) or ""


class _Graph:
    """Graph of the running prompt, read from a node upwards. Each output is read once, so that circles end."""

    def __init__(self, graph: Any):
        self.graph = graph
        self.seen: set[tuple[str, int | None]] = set()

    def texts_before(self, node_id: str, inputs: Sequence[str]) -> list[str | None]:
        """Return the texts behind the first of these inputs of a node that is linked, None for one that isn't known."""
        given = self._node(node_id).get("inputs", {})
        links = [(name, given[name]) for name in inputs if _is_link(given.get(name))]
        if not links or not self._is_new(node_id, None):
            return [None]
        name, (source, slot) = links[0]
        return self.texts_before(source, TO_CONDITIONING) if name == "guider" else self._texts_of(source, slot)

    def _texts_of(self, node_id: str, slot: int) -> list[str | None]:
        """Return the texts of the conditioning that a node outputs, one for each node that encodes one."""
        if not self._is_new(node_id, slot):
            return []
        node = self._node(node_id)
        given, types = node.get("inputs", {}), _input_types(node)
        if any(kind == "CLIP" and name in given for name, kind in types.items()):
            names = [name for name, kind in types.items() if kind == "STRING" and name in given]
            return [_the_one([self._string(given[name]) for name in names])]
        conditionings = [name for name, kind in types.items() if kind == "CONDITIONING" and _is_link(given.get(name))]
        same = [name for name in conditionings if name == _output_name(node, slot)]
        texts = [self._texts_of(given[name][0], given[name][1]) for name in same or conditionings]
        return sum(texts, []) if texts else [None]

    def _string(self, value: Any) -> str | None:
        """Return a text that is written in a node or in the text node that it is linked to."""
        read: set[str] = set()
        while _is_link(value) and value[0] not in read:
            read.add(value[0])
            source = self._node(value[0])
            value = source["inputs"].get("value") if source.get("class_type") in TEXT_NODES else None
        return value if isinstance(value, str) else None

    def _is_new(self, node_id: str, slot: int | None) -> bool:
        """Return whether an output, or a node's inputs for None, was not read before."""
        new = (node_id, slot) not in self.seen
        self.seen.add((node_id, slot))
        return new

    def _node(self, node_id: str) -> Mapping[str, Any]:
        return self.graph.get_node(node_id) if self.graph.has_node(node_id) else {}


def _the_one(texts: Sequence[str | None]) -> str | None:
    """Return the text that all are, blank ones left out; None if one isn't known or several differ."""
    written = {text for text in texts if text is None or text.strip()}
    return written.pop() if len(written) == 1 else None


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


def _input_types(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the socket types of a node's inputs by name."""
    kind = _class_of(node)
    if kind is None:
        return {}
    groups = kind.INPUT_TYPES()
    described = {**groups.get("required", {}), **groups.get("optional", {})}
    return {name: spec[0] for name, spec in described.items() if isinstance(spec, tuple | list) and spec}


def _output_name(node: Mapping[str, Any], slot: int) -> str:
    names = getattr(_class_of(node), "RETURN_NAMES", None) or ()
    return str(names[slot]) if slot < len(names) else ""


def _class_of(node: Mapping[str, Any]) -> Any:
    import nodes  # ComfyUI's, which is there once a prompt runs

    return nodes.NODE_CLASS_MAPPINGS.get(node.get("class_type"))
