"""Conversion of a workflow as the frontend saves it to a prompt as the server takes it.

It does what the frontend does when Run is pressed: subgraphs are opened; widget values, saved as a bare list, get
their names; links become ``[node id, output]``; notes, reroutes and primitives vanish; muted nodes are left out
and bypassed ones passed through. The result runs without a browser.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from .workflow_graph import PRIMITIVE, Node, opened
from .workflow_promoted import Promoted
from .workflow_sources import Output, Sources, Value
from .workflow_texts import choose, fill

Prompt = dict[str, dict[str, Any]]

GROUPS = ("workflow/", "workflow>")
"""Beginnings of the types of group nodes."""

FILE_NAME = "filename_prefix"
"""Name of the widget in which the frontend fills in dates and other widgets' values."""

NAME_IN_TEXTS = "Node name for S&R"
"""Property of nodes with the name that texts have for them; by default that is their type."""


_MISSING = object()


class WorkflowError(ValueError):
    """Error of a workflow that can't be turned into a prompt; the message names the node and the fix."""


def load_prompt(path: Path, object_info: dict[str, dict]) -> Prompt:
    """Read a saved workflow, or a prompt in API format, as a prompt in API format."""
    saved = json.loads(Path(path).read_text(encoding="utf-8"))
    return to_prompt(saved, object_info) if isinstance(saved, dict) and "nodes" in saved else saved


def to_prompt(workflow: dict, object_info: dict[str, dict]) -> Prompt:
    """Convert a saved workflow, of any version of the format.

    Args:
        workflow: the parsed JSON file (``nodes``, ``links`` …).
        object_info: the server's answer to ``/object_info``.

    Raises:
        WorkflowError: a node type that is not registered, links or subgraphs that go in a circle, or a damaged file.
    """
    try:
        return _Conversion(workflow, object_info).prompt()
    except WorkflowError:
        raise
    except RecursionError:
        raise WorkflowError(
            "The workflow's links or subgraphs go in a circle. Open it in ComfyUI, cut the circle, and save it again."
        ) from None
    except (LookupError, TypeError, AttributeError, ValueError) as damage:
        raise WorkflowError(
            f"The workflow's file is damaged ({type(damage).__name__}: {damage}). Open it in ComfyUI and save it again."
        ) from damage


class _Conversion:
    def __init__(self, workflow: dict, info: dict[str, dict]):
        self.info = info
        self.nodes = list(opened(workflow, info))
        self.promoted = Promoted()
        self.sources = Sources(self.promoted)
        self.now = datetime.now()

    def prompt(self) -> Prompt:
        running = [node for node in self.nodes if node.runs]
        self._check_types(running)
        return {node.id: self._entry(node) for node in running}

    def _check_types(self, nodes: list[Node]) -> None:
        groups = [node.id for node in nodes if node.type.startswith(GROUPS)]
        if groups:
            raise WorkflowError(
                f"Node {', '.join(groups)} is a group node, as ComfyUI had them before subgraphs. Open the workflow in "
                "ComfyUI, which makes a subgraph of it, and save it again."
            )
        unknown = sorted({f"{node.type} (node {node.id})" for node in nodes if node.definition is None})
        if unknown:
            raise WorkflowError(
                f"The workflow needs node types that this ComfyUI does not have: {', '.join(unknown)}. Install the "
                "custom nodes they come from, or look in ComfyUI's log for why they failed to load."
            )

    def _entry(self, node: Node) -> dict:
        inputs = {name: _literal(value) for name, value in self._widgets(node).items()}
        for number, slot in enumerate(node.slots):
            source = self.sources.of_input(node, number)
            if isinstance(source, Output):
                inputs[slot.name] = [source.node, source.slot]
            elif isinstance(source, Value):
                inputs[slot.name] = _literal(source.value)
        title = node.saved.get("title") or node.definition.get("display_name") or node.type
        return {"inputs": inputs, "class_type": node.type, "_meta": {"title": title}}

    def _widgets(self, node: Node) -> dict[str, Any]:
        values = {}
        for widget in node.widgets:
            value = self.promoted.widget(node, widget.name, self._from_primitive(node, widget.name, widget.value))
            if isinstance(value, str) and widget.chosen_text:
                value = choose(value)
            if isinstance(value, str) and widget.name == FILE_NAME:
                value = fill(value, self._by_name, self.now)
            values[widget.name] = value
        return values

    def _from_primitive(self, node: Node, name: str, own: Any) -> Any:
        """Return the value of the primitive that is linked to a widget, else the widget's own."""
        link = next((node.graph.links.get(slot.link) for slot in node.slots if slot.name == name), None)
        primitive = node.siblings.get(link.origin) if link else None
        if primitive is None or primitive.type != PRIMITIVE or not primitive.saved.get("widgets_values"):
            return own
        return self.promoted.widget(primitive, "value", primitive.saved["widgets_values"][0])

    def _by_name(self, called: str, name: str) -> str | None:
        """Return the value of a widget of the first node of a name, as a text; None if there is none."""
        known = [node for node in self.nodes if node.definition is not None]
        named = [node for node in known if _name_in_texts(node) == called]
        named = named or [node for node in known if node.saved.get("title") == called]
        if not named:
            return None
        value = next((widget.value for widget in named[0].widgets if widget.name == name), _MISSING)
        return None if value is _MISSING else str(value)


def _name_in_texts(node: Node) -> str:
    return (node.saved.get("properties") or {}).get(NAME_IN_TEXTS, node.type)


def _literal(value: Any) -> Any:
    """Wrap a value that is a list, which would be taken for a link."""
    return {"__value__": value} if isinstance(value, list) else value
