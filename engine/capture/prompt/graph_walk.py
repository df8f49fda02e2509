"""Nodes before and behind a node in a queued graph."""

from collections.abc import Mapping
from typing import Any

from .graph_texts import is_link

Nodes = Mapping[str, Mapping[str, Any]]
"""Nodes of a queued graph by id, each with its ``inputs``."""


def sources(nodes: Nodes, node_id: str) -> set[str]:
    """Return the ids of all nodes that a node's inputs come from, near and far, and its own."""
    return closure(node_id, {user: set(_linked(nodes, user)) for user in nodes})


def users(nodes: Nodes, node_id: str) -> set[str]:
    """Return the ids of all nodes that use a node's outputs, near and far."""
    direct: dict[str, set[str]] = {}
    for user in nodes:
        for source in _linked(nodes, user):
            direct.setdefault(source, set()).add(user)
    return closure(node_id, direct) - {node_id}


def closure(start: str, following: Mapping[str, set[str]]) -> set[str]:
    """Return all that can be reached from a start, and the start."""
    reached, waiting = {start}, [start]
    while waiting:
        new = following.get(waiting.pop(), set()) - reached
        reached |= new
        waiting += new
    return reached


def _linked(nodes: Nodes, node_id: str) -> list[str]:
    """Return the ids of the nodes of a graph that a node's inputs are linked to."""
    return [value[0] for value in nodes[node_id]["inputs"].values() if is_link(value) and value[0] in nodes]
