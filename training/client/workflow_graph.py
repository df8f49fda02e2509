"""The graphs of a saved workflow: every node at its place, subgraphs opened as often as they are used."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .workflow_widgets import MATCHED, Slot, Widget, saved_widgets, slots

MUTED, BYPASSED = 2, 4  # LiteGraph's node modes
NOTES = {"Note", "MarkdownNote"}
REROUTE, PRIMITIVE = "Reroute", "PrimitiveNode"
VIRTUAL = {*NOTES, REROUTE, PRIMITIVE}
"""Nodes that the frontend alone knows."""

INPUTS, OUTPUTS = "-10", "-20"
"""As whose links a subgraph's own inputs and outputs appear in it."""


@dataclass(frozen=True)
class Link:
    """From an output, by its number, to one of the inputs of another node, which knows the link's id."""

    origin: str
    origin_slot: int
    target: str


class Graph:
    """The workflow itself or one subgraph, as it is saved.

    Attributes:
        nodes: as saved, by id.
        links: by id.
        inputs, outputs: a subgraph's own slots, as saved.
    """

    def __init__(self, saved: dict[str, Any]):
        self.nodes = {str(node["id"]): node for node in saved["nodes"]}
        self.links = dict(map(_link, saved.get("links") or ()))
        self.inputs: list[dict] = saved.get("inputs") or []
        self.outputs: list[dict] = saved.get("outputs") or []

    def first_link(self, slot: dict) -> Link | None:
        """The first link of one of the subgraph's own slots that is there."""
        there = (self.links[number] for number in slot.get("linkIds") or () if number in self.links)
        return next(there, None)


def _link(link: list | dict) -> tuple[Any, Link]:
    """The id of a link and the link, in either of the formats that exist."""
    if isinstance(link, dict):
        number, origin, slot, target = (link.get(key) for key in ("id", "origin_id", "origin_slot", "target_id"))
    else:
        number, origin, slot, target = link[:4]
    return number, Link(str(origin), int(slot), str(target))


@dataclass(eq=False)
class Node:
    """A node at its place: one in a subgraph is there once for each use of the subgraph.

    Attributes:
        saved: its entry in the file.
        graph: where it is.
        definition: what ``/object_info`` says of its type; None for a subgraph, and for what is not installed.
        subgraph: what it stands for, if it is a use of one.
        host: the use of a subgraph that it is in.
        inside: the nodes of its subgraph, by id.
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
        """The ids on the way to it: ``"12:7:5"``."""
        own = str(self.saved["id"])
        return own if self.host is None else f"{self.host.id}:{own}"

    @property
    def type(self) -> str:
        return self.saved["type"]

    @property
    def mode(self) -> int:
        return self.saved.get("mode") or 0

    @property
    def runs(self) -> bool:
        """Whether the server gets it."""
        return self.subgraph is None and self.type not in VIRTUAL and self.mode not in (MUTED, BYPASSED)

    @cached_property
    def slots(self) -> list[Slot]:
        """Its inputs in the frontend's order, with their links."""
        if self.subgraph is not None:
            links = {slot["name"]: slot.get("link") for slot in self.saved.get("inputs") or ()}
            return [Slot(own["name"], str(own["type"]), links.get(own["name"])) for own in self.subgraph.inputs]
        return slots(self.definition, self.saved.get("inputs") or [])

    @cached_property
    def widgets(self) -> list[Widget]:
        """With the values that are saved in it."""
        if self.definition is None:
            return []
        return saved_widgets(self.definition, self.saved.get("widgets_values"), self.type)

    def output_type(self, slot: int) -> str:
        """What an output carries."""
        if self.subgraph is not None:
            return str(self.subgraph.outputs[slot]["type"])
        defined = (self.definition or {}).get("output") or ()
        if slot < len(defined):
            return "COMBO" if isinstance(defined[slot], list) else defined[slot].replace(MATCHED, "*")
        outputs = self.saved.get("outputs") or []
        return str(outputs[slot]["type"]) if slot < len(outputs) else "*"


def opened(workflow: dict[str, Any], info: dict[str, dict]) -> Iterator[Node]:
    """All nodes of a workflow, those of muted and bypassed subgraphs left out.

    Args:
        workflow: as it is saved.
        info: the server's answer to ``/object_info``.

    Raises:
        RecursionError: a subgraph that is inside of itself.
    """
    definitions = (workflow.get("definitions") or {}).get("subgraphs") or []
    subgraphs = {saved["id"]: Graph(saved) for saved in definitions}

    def place(graph: Graph, host: Node | None, above: tuple[str, ...]) -> Iterator[Node]:
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
            yield from place(node.subgraph, node, (*above, kind))

    yield from place(Graph(workflow), None, ())
