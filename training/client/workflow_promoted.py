"""Promoted widgets: those inside of a subgraph that a use of it shows, and the values that it keeps for them."""

from dataclasses import dataclass, field
from typing import Any

from .workflow_graph import PRIMITIVE, Node

PROXIES = "proxyWidgets"
"""Property in files of 2025: the promoted widgets, each as a node inside and a name, in the order of the values."""

FAILED = "proxyWidgetErrorQuarantine"
"""Property with values of such widgets for which the frontend found no widget."""

OWN = "-1"
"""Node id that those properties have for the inputs of the subgraph itself."""


@dataclass
class _Values:
    """Values that one use of a subgraph sets.

    Attributes:
        inputs: values by number of the input.
        inside: values of widgets that are no input of the subgraph, by node inside and name.
    """

    inputs: dict[int, Any] = field(default_factory=dict)
    inside: dict[tuple[str, str], Any] = field(default_factory=dict)


class Promoted:
    """Values of all widgets of a workflow, as far as uses of subgraphs decide them."""

    def __init__(self) -> None:
        self._known: dict[Node, _Values] = {}

    def widget(self, node: Node, name: str, saved: Any) -> Any:
        """Return the value of a node's widget, ``saved`` if no use of a subgraph sets it."""
        inside = self._values(node.host).inside if node.host is not None else {}
        return inside.get((str(node.saved["id"]), name), saved)

    def shown(self, host: Node, slot: int) -> tuple[Node, str] | None:
        """Find the widget that an input of a use of a subgraph shows, as node inside and name; else None."""
        own = host.subgraph.inputs[slot]
        for number in own.get("linkIds") or ():
            link = host.subgraph.links.get(number)
            target = host.inside.get(link.target) if link else None
            for at, linked in enumerate(target.slots if target else ()):
                if linked.link != number:
                    continue
                if linked.widget if target.subgraph is None else self.shown(target, at) is not None:
                    return target, linked.name
        return None

    def at(self, host: Node, slot: int) -> Any:
        """Return the value of the widget that an input of a use of a subgraph shows."""
        name = host.slots[slot].name
        return self.widget(host, name, self._values(host).inputs[slot])

    def _values(self, host: Node) -> _Values:
        if host not in self._known:
            self._known[host] = self._read(host)
        return self._known[host]

    def _read(self, host: Node) -> _Values:
        saved = host.saved.get("widgets_values")
        saved = saved if isinstance(saved, list) else []
        shown = {slot: source for slot in range(len(host.slots)) if (source := self.shown(host, slot)) is not None}
        values = _Values()
        for position, (slot, source) in enumerate(shown.items()):
            value = saved[position] if position < len(saved) else None
            values.inputs[slot] = self._own(*source) if value is None else value
        for (number, name), value in zip(_entries(host, PROXIES), saved):
            if value is not None:
                self._set(host, shown, values, number, name, value)
        for number, name, value in _failed(host):
            if number == OWN:
                self._set(host, shown, values, number, name, value)
        return values

    def _own(self, node: Node, name: str) -> Any:
        """Return the value of a widget inside, before any use of its subgraph."""
        if node.subgraph is not None:
            return self._values(node).inputs[next(slot for slot, own in enumerate(node.slots) if own.name == name)]
        return next((widget.value for widget in node.widgets if widget.name == name), None)

    @staticmethod
    def _set(host: Node, shown: dict, values: _Values, number: str, name: str, value: Any) -> None:
        """Set the value of an input that shows a widget, or of the widget itself."""
        names = {(OWN, host.slots[slot].name): slot for slot in shown}
        names |= {(str(node.saved["id"]), widget): slot for slot, (node, widget) in shown.items()}
        if (number, name) in names:
            values.inputs[names[number, name]] = value
        elif number in host.inside:
            primitive = host.inside[number].type == PRIMITIVE
            values.inside[number, "value" if primitive else name.rsplit(": ", 1)[-1]] = value


def _entries(host: Node, name: str) -> list[tuple[str, str]]:
    entries = (host.saved.get("properties") or {}).get(name)
    return [(str(entry[0]), entry[1]) for entry in entries or () if isinstance(entry, list) and len(entry) > 1]


def _failed(host: Node) -> list[tuple[str, str, Any]]:
    entries = (host.saved.get("properties") or {}).get(FAILED) or ()
    return [(str(e["originalEntry"][0]), e["originalEntry"][1], e["hostValue"]) for e in entries if "hostValue" in e]
