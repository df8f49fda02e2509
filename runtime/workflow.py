"""From a workflow as the frontend saves it to a prompt as the server takes it.

What the frontend does when Run is pressed: widget values, saved as a bare list, are given their
names; links become ``[node id, output]``; notes, reroutes and primitives vanish; muted nodes are left
out and bypassed ones passed through. The result runs without a browser.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Prompt = dict[str, dict[str, Any]]

MUTED, BYPASSED = 2, 4  # LiteGraph's node modes
NOTES = {"Note", "MarkdownNote"}
WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COLOR", "COMFY_DYNAMICCOMBO_V3"}
CONTROL_VALUES = {"fixed", "increment", "increment-wrap", "decrement", "randomize"}


class WorkflowError(ValueError):
    """A workflow can't be turned into a prompt; the message names the node and the fix."""


def load_prompt(path: Path, object_info: dict[str, dict]) -> Prompt:
    """Read a saved workflow, or a prompt in API format, as a prompt in API format."""
    saved = json.loads(Path(path).read_text(encoding="utf-8"))
    return to_prompt(saved, object_info) if "nodes" in saved else saved


def to_prompt(workflow: dict, object_info: dict[str, dict]) -> Prompt:
    """Convert a saved workflow.

    Args:
        workflow: the parsed JSON file (``nodes``, ``links`` …).
        object_info: the server's answer to ``/object_info``.

    Raises:
        WorkflowError: a node type that is not registered, or a subgraph.
    """
    return _Graph(workflow, object_info).prompt()


class _Graph:
    def __init__(self, workflow: dict, object_info: dict[str, dict]):
        self.info = object_info
        self.nodes = {node["id"]: node for node in workflow["nodes"]}
        self.links = dict(map(_link, workflow["links"]))
        self.subgraphs = {graph["id"] for graph in workflow.get("definitions", {}).get("subgraphs", [])}

    def prompt(self) -> Prompt:
        running = [node for node in self.nodes.values() if self._runs(node)]
        self._check_types(running)
        return {str(node["id"]): self._entry(node) for node in running}

    def _runs(self, node: dict) -> bool:
        virtual = node["type"] in NOTES or node["type"] in ("Reroute", "PrimitiveNode")
        return not virtual and node.get("mode", 0) not in (MUTED, BYPASSED)

    def _check_types(self, nodes: list[dict]) -> None:
        inside = [str(node["id"]) for node in nodes if node["type"] in self.subgraphs]
        if inside:
            raise WorkflowError(f"Node {', '.join(inside)} is a subgraph. Unpack it (right-click) and save again.")
        unknown = sorted({f"{node['type']} (node {node['id']})" for node in nodes if node["type"] not in self.info})
        if unknown:
            raise WorkflowError(
                f"The workflow needs node types that this ComfyUI does not have: {', '.join(unknown)}. Install the "
                "custom nodes they come from, or look in ComfyUI's log for why they failed to load."
            )

    def _entry(self, node: dict) -> dict:
        inputs = self._widget_values(node)
        for slot in node.get("inputs", []):
            if slot.get("link") is None:
                continue
            source = self._source(slot["link"])
            if source is None:  # from a muted node, or nowhere
                inputs.pop(slot["name"], None)
            else:
                inputs[slot["name"]] = source
        title = node.get("title") or self.info[node["type"]].get("display_name") or node["type"]
        return {"inputs": inputs, "class_type": node["type"], "_meta": {"title": title}}

    def _widget_values(self, node: dict) -> dict[str, Any]:
        saved = node.get("widgets_values") or []
        if isinstance(saved, dict):  # some packs save their widgets by name
            return {name: _literal(value) for name, value in saved.items()}
        values, position = {}, 0
        pending = list(_inputs(self.info[node["type"]]["input"], self.info[node["type"]].get("input_order")))
        while pending:
            name, spec = pending.pop(0)
            if not _is_widget(spec):
                continue
            options = spec[1] if len(spec) > 1 else {}
            value = saved[position] if position < len(saved) else _default(spec)
            position += 1
            if value is not None:
                values[name] = _literal(value)
            if _has_control(name, spec) and position < len(saved) and saved[position] in CONTROL_VALUES:
                position += 1
            if spec[0] == "COMFY_DYNAMICCOMBO_V3":  # the chosen option's own inputs come next
                chosen = next((option for option in options.get("options", []) if option["key"] == value), None)
                if chosen is not None:
                    pending[:0] = [(f"{name}.{inner}", inner_spec) for inner, inner_spec in _inputs(chosen["inputs"])]
        return values

    def _source(self, link_id: int) -> list | Any | None:
        """``[node id, output]`` that feeds a link, a primitive's value, or None when nothing does."""
        seen = set()
        while link_id is not None and link_id in self.links and link_id not in seen:
            seen.add(link_id)
            node_id, slot = self.links[link_id]
            node = self.nodes.get(node_id)
            if node is None or node.get("mode", 0) == MUTED:
                return None
            if node["type"] == "PrimitiveNode":
                return _literal(node["widgets_values"][0])
            if node["type"] == "Reroute":
                link_id = node["inputs"][0].get("link")
            elif node.get("mode", 0) == BYPASSED:
                link_id = _bypass(node, slot)
            else:
                return [str(node_id), slot]
        return None


def _link(link: list | dict) -> tuple[int, tuple[int, int]]:
    """The id and the origin (node, output) of a link in either of the formats that exist."""
    if isinstance(link, dict):
        return link["id"], (link["origin_id"], link["origin_slot"])
    return link[0], (link[1], link[2])


def _inputs(inputs: dict, order: dict | None = None) -> Iterator[tuple[str, list]]:
    """Name and specification of every input in the order of the widgets."""
    for group in ("required", "optional"):
        specs = inputs.get(group, {})
        for name in (order or {}).get(group, specs):
            yield name, specs[name]


def _is_widget(spec: list) -> bool:
    options = spec[1] if len(spec) > 1 else {}
    if options.get("forceInput") or options.get("defaultInput"):
        return False
    return isinstance(spec[0], list) or options.get("widgetType", spec[0]) in WIDGET_TYPES


def _has_control(name: str, spec: list) -> bool:
    """Does the frontend put a "control after generate" widget behind this one?"""
    options = spec[1] if len(spec) > 1 else {}
    by_name = spec[0] == "INT" and name.rsplit(".", 1)[-1] in ("seed", "noise_seed")
    return bool(options.get("control_after_generate", by_name))


def _default(spec: list) -> Any:
    options = spec[1] if len(spec) > 1 else {}
    if "default" in options:
        return options["default"]
    choices = spec[0] if isinstance(spec[0], list) else options.get("options")
    if not choices:
        return None
    return choices[0]["key"] if isinstance(choices[0], dict) else choices[0]


def _literal(value: Any) -> Any:
    """A list as a value would be taken for a link."""
    return {"__value__": value} if isinstance(value, list) else value


def _bypass(node: dict, slot: int) -> int | None:
    """The link that a bypassed node passes through to this output: same position, else first of its type."""
    wanted = node["outputs"][slot]["type"]
    inputs = node.get("inputs", [])
    candidates = inputs[slot : slot + 1] + inputs
    return next(
        (i.get("link") for i in candidates if i.get("type") in (wanted, "*") and i.get("link") is not None), None
    )
