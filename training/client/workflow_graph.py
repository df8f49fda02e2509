"""Graphs of a saved workflow, with subgraphs opened as often as they are used."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .workflow_widgets import MATCHED, Slot, Widget, saved_widgets, slots

MUTED, BYPASSED = 2, 4  # LiteGraph's node modes
NOTES = {"Note", "MarkdownNote"}
REROUTE, PRIMITIVE = "Reroute", "PrimitiveNode"
VIRTUAL = {*NOTES, REROUTE, PRIMITIVE}
"""Types of nodes that the frontend alone knows."""

INPUTS, OUTPUTS = "-10", "-20"
"""Node ids that a subgraph's own inputs and outputs have in its links."""


@dataclass(frozen=True)
class Link:
    """Link from an output, by its number, to an input of another node, which knows the link's id."""

    origin: str
    origin_slot: int
    target: str


class Graph:
    """The workflow itself or one subgraph, as it is saved.

    Attributes:
        nodes: saved nodes by id.
        links: links by id.
        inputs, outputs: own slots of a subgraph, as saved.
    """

    def __init__(self, saved: dict[str, Any]):
        self.nodes = {str(node["id"]): node for node in saved["nodes"]}
        self.links = dict(map(_link, saved.get("links") or ()))
        self.inputs: list[dict] = saved.get("inputs") or []
        self.outputs: list[dict] = saved.get("outputs") or []

    def first_link(self, slot: dict) -> Link | None:
        """Return the first existing link of one of the subgraph's own slots."""
        existing = (self.links[number] for number in slot.get("linkIds") or () if number in self.links)
        return next(existing, None)


def _link(link: list | dict) -> tuple[Any, Link]:
    """Read the id of a link and the link, in either of the formats that exist."""
    if isinstance(link, dict):
        number, origin, slot, target = (link.get(key) for key in ("id", "origin_id", "origin_slot", "target_id"))
    else:
        number, origin, slot, target = link[:4]
    return number, Link(str(origin), int(slot), str(target))


@dataclass(eq=False)
class Node:
    """Node of the opened workflow; one in a subgraph exists once for each use of the subgraph.

    Attributes:
        saved: its entry in the file.
        graph: that it is in.
        definition: entry of its type in ``/object_info``; None for a subgraph, and for a type that is not installed.
        subgraph: the subgraph that it is a use of.
        host: the use of a subgraph that it is in.
        inside: the nodes of its subgraph, by id.
        siblings: all nodes of its graph, by id.
    """

    saved: dict[str, Any]
    graph: Graph
    definition: dict[str, Any] | None = None
    subgraph: Graph | None = None
    host: "Node | None" = None
    inside: dict[str, "Node"] = field(default_factory=dict)
    siblings: dict[str, "Node"] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        """Id in the prompt: the ids of its hosts and its own, ``"12:7:5"``."""
        own = str(self.saved["id"])
        return own if self.host is None else f"{self.host.id}:{own}"

    @property
    def type(self) -> str:
        """Type of the node, or id of the subgraph that it uses."""
        return self.saved["type"]

    @property
    def mode(self) -> int:
        """LiteGraph's mode."""
        return self.saved.get("mode") or 0

    @property
    def runs(self) -> bool:
        """Whether the node is part of the prompt."""
        return self.subgraph is None and self.type not in VIRTUAL and self.mode not in (MUTED, BYPASSED)

    @cached_property
    def slots(self) -> list[Slot]:
        """Inputs in the frontend's order, with their links."""
        if self.subgraph is not None:
            links = {slot["name"]: slot.get("link") for slot in self.saved.get("inputs") or ()}
            return [Slot(own["name"], str(own["type"]), links.get(own["name"])) for own in self.subgraph.inputs]
        return slots(self.definition, self.saved.get("inputs") or [])

    @cached_property
    def widgets(self) -> list[Widget]:
        """Widgets with the values that are saved in the node."""
        if self.definition is None:
            return []
        return saved_widgets(self.definition, self.saved.get("widgets_values"), self.type)

    def output_type(self, slot: int) -> str:
        """Return the type of an output."""
        if self.subgraph is not None:
            return str(self.subgraph.outputs[slot]["type"])
        defined = (self.definition or {}).get("output") or ()
        if slot < len(defined):
            return "COMBO" if isinstance(defined[slot], list) else defined[slot].replace(MATCHED, "*")
        outputs = self.saved.get("outputs") or []
        return str(outputs[slot]["type"]) if slot < len(outputs) else "*"


def opened(workflow: dict[str, Any], info: dict[str, dict]) -> Iterator[Node]:
    """Yield all nodes of a workflow but those of muted and bypassed subgraphs.

    Args:
        workflow: as saved.
        info: the server's answer to ``/object_info``.

    Raises:
        RecursionError: a subgraph is inside of itself.
    """
    definitions = (workflow.get("definitions") or {}).get("subgraphs") or []
    subgraphs = {saved["id"]: Graph(saved) for saved in definitions}

    def nodes_of(graph: Graph, host: Node | None, above: tuple[str, ...]) -> Iterator[Node]:
        siblings: dict[str, Node] = {} if host is None else host.inside
        for number, saved in graph.nodes.items():
            kind = saved["type"]
            node = Node(saved, graph, info.get(kind), subgraphs.get(kind), host, siblings=siblings)
            siblings[number] = node
            yield node
            if node.subgraph is None or (host is None and node.mode in (MUTED, BYPASSED)):
                continue
            if kind in above:
                raise RecursionError(node.id)
            yield from nodes_of(node.subgraph, node, (*above, kind))

    yield from nodes_of(Graph(workflow), None, ())
