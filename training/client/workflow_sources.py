"""Sources of inputs, as the frontend finds them when Run is pressed.

Links are followed through reroutes, bypassed nodes and the borders of subgraphs: to an output of a
node of the prompt, or to a value that a use of a subgraph sets.
"""

from dataclasses import dataclass
from typing import Any

from .workflow_graph import BYPASSED, INPUTS, MUTED, REROUTE, Node
from .workflow_promoted import Promoted

ANY = ("*", "", "0")
"""Types that fit every other."""


@dataclass(frozen=True)
class Output:
    """Output of a node of the prompt."""

    node: str
    slot: int


@dataclass(frozen=True)
class Value:
    """Value that a use of a subgraph sets for an input."""

    value: Any


Source = Output | Value | None


class Sources:
    """Sources of the inputs of a workflow's nodes.

    Args:
        promoted: values that uses of subgraphs set.
    """

    def __init__(self, promoted: Promoted):
        self.promoted = promoted

    def of_input(self, node: Node, slot: int, wanted: str = "") -> Source:
        """Find the source of an input; None if it has none.

        Args:
            slot: number of the input among ``node.slots``.
            wanted: type of the input that this one is passed on to, if it is passed on.

        Raises:
            RecursionError: the links go in a circle.
        """
        own = node.slots[slot]
        link = node.graph.links.get(own.link)
        if link is None:
            return None
        if link.origin == INPUTS and node.host is not None:
            return self._from_outside(node.host, link.origin_slot)
        origin = node.siblings.get(link.origin)
        return None if origin is None else self._of_output(origin, link.origin_slot, wanted or own.type)

    def _from_outside(self, host: Node, slot: int) -> Source:
        if slot >= len(host.slots):
            return None
        if host.slots[slot].link in host.graph.links:
            return self.of_input(host, slot)
        return None if self.promoted.shown(host, slot) is None else Value(self.promoted.at(host, slot))

    def _of_output(self, node: Node, slot: int, wanted: str) -> Source:
        if node.mode == MUTED:
            return None
        if node.mode == BYPASSED:
            through = passed_through(node, slot, wanted)
            return None if through is None else self.of_input(node, through)
        if node.subgraph is not None:
            return self._from_inside(node, slot, wanted)
        if node.runs:
            return Output(node.id, slot)
        return self.of_input(node, slot, wanted) if node.type == REROUTE and slot < len(node.slots) else None

    def _from_inside(self, node: Node, slot: int, wanted: str) -> Source:
        link = node.subgraph.first_link(node.subgraph.outputs[slot]) if slot < len(node.subgraph.outputs) else None
        if link is None:
            return None
        if link.origin == INPUTS:  # straight through
            return self._from_outside(node, link.origin_slot)
        inner = node.inside.get(link.origin)
        return None if inner is None else self._of_output(inner, link.origin_slot, wanted)


def passed_through(node: Node, output: int, wanted: str) -> int | None:
    """Choose the input that a bypassed node passes on as one of its outputs.

    The one of the same number if it fits, else the first of exactly that type, else the first that fits.

    Args:
        wanted: type of the next node's input.
    """
    types = [slot.type for slot in node.slots]
    if wanted in ANY:
        return (output if output < len(types) else 0) if types else None
    offered = node.output_type(output)
    fitting = [number for number, kind in enumerate(types) if fits(kind, offered) and fits(kind, wanted)]
    if output in fitting:
        return output
    return types.index(wanted) if wanted in types else next(iter(fitting), None)


def fits(one: str, other: str) -> bool:
    """Return whether LiteGraph connects two types; each may be several with commas between them."""
    kinds = [set(kind.lower().split(",")) for kind in (one, other)]
    return any(kind & set(ANY) for kind in kinds) or bool(kinds[0] & kinds[1])
