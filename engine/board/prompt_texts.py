"""Texts of the prompts of the node that runs now, read from the queued graph."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context

from ..core.texts import writable

MOST_BYTES = 4096
"""Bound of the text of one prompt, in UTF-8."""

MOST_NODES = 200
"""Bound of the nodes of a graph that are looked at for one prompt."""

CONDITIONING, STRING = "CONDITIONING", "STRING"

Lookup = Callable[[str], dict[str, Any] | None]
"""Function from a node's id to the node in a queued graph, None if there is none."""


def prompt_texts(inputs: Sequence[str]) -> tuple[str, ...]:
    """Return the texts of the prompts that are connected to inputs of the node that runs now, in their order.

    Args:
        inputs: names of inputs for conditionings; those without a link are left out.

    Returns:
        A text for each link, empty where it is not known. Empty outside of a running prompt.
    """
    context = get_executing_context()
    if context is None:
        return ()
    prompt = get_progress_state().dynprompt

    def lookup(node_id: str) -> dict[str, Any] | None:
        return prompt.get_node(node_id) if prompt.has_node(node_id) else None

    links = (lookup(context.node_id) or {}).get("inputs", {})
    return tuple(text_upstream(lookup, links[name]) for name in inputs if _is_link(links.get(name)))


def text_upstream(lookup: Lookup, link: list) -> str:
    """Return the text from which the conditioning of a link is made, at most 4 kB of it.

    The way goes up through nodes that change conditionings to nodes that have texts: inputs of several lines, as those
    of CLIP Text Encode. Several different texts are joined by line breaks. A text that other nodes compute is unknown.
    """
    texts = dict.fromkeys(text.strip() for text in _Walk(lookup).texts(link))
    return _cut("\n".join(text for text in texts if text))


class _Walk:
    """Way up a graph, which looks at each output of a node once and at a bounded number of them."""

    def __init__(self, lookup: Lookup):
        self.lookup = lookup
        self.seen: set[tuple[str, int]] = set()

    def texts(self, link: list) -> Iterator[str]:
        """Yield the texts upstream of the conditioning of a link."""
        node = self._node_at(link)
        if node is None:
            return
        names = _inputs_of(node, STRING, several_lines=True)
        values = node.get("inputs", {})
        if names:
            for name in names:
                value = values.get(name)
                yield self._string(value) if _is_link(value) else str(value or "")
            return
        output = _output_name(node, link[1])
        for name in [output] if output in values else _inputs_of(node, CONDITIONING):
            if _is_link(values.get(name)):
                yield from self.texts(values[name])

    def _string(self, link: list) -> str:
        """Return the text of a node that holds one, such as a primitive; empty for one that computes a text."""
        node = self._node_at(link)
        names = _inputs_of(node, STRING) if node else []
        if len(names) != 1:
            return ""
        value = node.get("inputs", {}).get(names[0])
        return self._string(value) if _is_link(value) else str(value or "")

    def _node_at(self, link: list) -> dict[str, Any] | None:
        key = str(link[0]), link[1]
        if key in self.seen or len(self.seen) >= MOST_NODES:
            return None
        self.seen.add(key)
        return self.lookup(key[0])


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[1], int)


def _class_of(node: dict[str, Any]) -> Any:
    from nodes import NODE_CLASS_MAPPINGS

    return NODE_CLASS_MAPPINGS.get(node.get("class_type"))


def _inputs_of(node: dict[str, Any], kind: str, several_lines: bool = False) -> list[str]:
    """Return the names of a node's inputs of a type, or of those whose text may have several lines."""
    try:
        declared: dict[str, Any] = getattr(_class_of(node), "INPUT_TYPES", dict)()
    except Exception:  # of another pack, which may look for files
        return []
    names = []
    for group in ("required", "optional"):
        for name, described in declared.get(group, {}).items():
            options = described[1] if len(described) > 1 else {}
            if described[0] == kind and (not several_lines or options.get("multiline")):
                names.append(name)
    return names


def _output_name(node: dict[str, Any], slot: int) -> str | None:
    """Return the name of an output, by which nodes with several conditionings have an input as well."""
    names = getattr(_class_of(node), "RETURN_NAMES", None) or ()
    return names[slot] if slot < len(names) else None


def _cut(text: str) -> str:
    """Return a text that UTF-8 can write, of at most 4 kB."""
    data = writable(text).encode()
    if len(data) <= MOST_BYTES:
        return data.decode()
    return data[: MOST_BYTES - len("…".encode())].decode(errors="ignore") + "…"
