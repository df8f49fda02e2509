"""The widgets inside that the use of a subgraph shows, and the values that it keeps for them."""

from dataclasses import dataclass, field
from typing import Any

from .workflow_graph import PRIMITIVE, Node

PROXIES = "proxyWidgets"
"""A property in files of 2025: the widgets shown, each as a node inside and a name, in the order of the values."""

FAILED = "proxyWidgetErrorQuarantine"
"""A property: values of such widgets that the frontend kept because it could not place them."""

OWN = "-1"
"""As whose widgets those properties name the inputs of the subgraph itself."""


@dataclass
class _Values:
    """What one use of a subgraph sets.

    Attributes:
        inputs: by the number of its input.
        inside: by node inside and name, of widgets that are no input of the subgraph.
    """

    inputs: dict[int, Any] = field(default_factory=dict)
    inside: dict[tuple[str, str], Any] = field(default_factory=dict)


class Promoted:
    """The values of all widgets of a workflow, as far as uses of subgraphs decide them."""

    def __init__(self) -> None:
        self._known: dict[Node, _Values] = {}

    def widget(self, node: Node, name: str, saved: Any) -> Any:
        """The value of a node's widget, of which ``saved`` is its own."""
        inside = self._values(node.host).inside if node.host is not None else {}
        return inside.get((str(node.saved["id"]), name), saved)

    def shown(self, host: Node, slot: int) -> tuple[Node, str] | None:
        """The widget, as node inside and name, that an input of a use of a subgraph shows; None if it shows none."""
        own = host.subgraph.inputs[slot]
        for number in own.get("linkIds") or ():
            link = host.subgraph.links.get(number)
            target = host.inside.get(link.target) if link else None
            places = [at for at, there in enumerate(target.slots) if there.link == number] if target else ()
            for at in places:
                there = target.slots[at]
                if there.widget if target.subgraph is None else self.shown(target, at) is not None:
                    return target, there.name
        return None

    def at(self, host: Node, slot: int) -> Any:
        """The value of the widget that an input of a use of a subgraph shows."""
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
        for place, (slot, source) in enumerate(shown.items()):
            given = saved[place] if place < len(saved) else None
            values.inputs[slot] = self._own(*source) if given is None else given
        proxies = _entries(host, PROXIES)
        for place, (number, name) in enumerate(proxies):
            if place < len(saved) and saved[place] is not None:
                self._place(host, shown, values, number, name, saved[place])
        for number, name, given in _failed(host):
            if number == OWN:
                self._place(host, shown, values, number, name, given)
        return values

    def _own(self, node: Node, name: str) -> Any:
        """The value of a widget inside, before any use of its subgraph."""
        if node.subgraph is not None:
            return self._values(node).inputs[next(slot for slot, own in enumerate(node.slots) if own.name == name)]
        return next((widget.value for widget in node.widgets if widget.name == name), None)

    @staticmethod
    def _place(host: Node, shown: dict, values: _Values, number: str, name: str, given: Any) -> None:
        """Put one value where it belongs: an input that shows this widget, or the widget itself."""
        names = {(OWN, host.slots[slot].name): slot for slot in shown}
        names |= {(str(node.saved["id"]), widget): slot for slot, (node, widget) in shown.items()}
        if (number, name) in names:
            values.inputs[names[number, name]] = given
        elif number in host.inside:
            primitive = host.inside[number].type == PRIMITIVE
            values.inside[number, "value" if primitive else name.rsplit(": ", 1)[-1]] = given


def _entries(host: Node, name: str) -> list[tuple[str, str]]:
    entries = (host.saved.get("properties") or {}).get(name)
    return [(str(entry[0]), entry[1]) for entry in entries or () if isinstance(entry, list) and len(entry) > 1]


def _failed(host: Node) -> list[tuple[str, str, Any]]:
    entries = (host.saved.get("properties") or {}).get(FAILED) or ()
    return [(str(e["originalEntry"][0]), e["originalEntry"][1], e["hostValue"]) for e in entries if "hostValue" in e]
