"""Inputs of a node type in the frontend: sockets, and widgets, whose values a file saves as a bare list.

The order of both follows from ``/object_info``. Widgets that exist in a browser alone (cameras, 3D viewers) keep
the value that was saved last, if ``/object_info`` has an input for them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Spec = list
"""Specification of an input in ``/object_info``: its type, or the list of its options; and its settings, if any."""

DYNAMIC_COMBO, AUTOGROW, MATCHED = "COMFY_DYNAMICCOMBO_V3", "COMFY_AUTOGROW_V3", "COMFY_MATCHTYPE_V3"
WIDGET_DEFAULTS = {
    "INT": 0, "FLOAT": 0, "STRING": "", "BOOLEAN": False, "COMBO": None, DYNAMIC_COMBO: None, "COLOR": "#000000",
    "COLORS": [], "CURVE": None, "BOUNDING_BOX": None, "BOUNDING_BOXES": [], "PAINTER": "", "RANGE": None,
    "MARKDOWN": "", "TEXTAREA": "", "LOAD_3D": "", "WEBCAM": "",
}  # fmt: skip
"""Values of widgets without a default, by the types of inputs that are widgets."""

UNSAVED = {"IMAGECOMPARE": ["", ""]}
"""Values of widgets that are sent and never saved, by type."""

SEEDS = ("seed", "noise_seed")
CONTROL_WORDS = {"fixed", "increment", "increment-wrap", "decrement", "randomize"}
CUSTOM_COMBO = "CustomCombo"
CONTROLLED = ("KSampler", "KSamplerAdvanced")
"""Types of nodes for whose samplers older files have the name of a function."""


@dataclass(frozen=True)
class Slot:
    """Input that a link can lead to.

    Attributes:
        link: id of its link, None without one.
        widget: whether it is a widget as well.
    """

    name: str
    type: str
    link: Any = None
    widget: bool = False


@dataclass(frozen=True)
class Widget:
    """Widget whose value is part of the prompt.

    Attributes:
        chosen_text: whether the frontend reads ``{a|b}`` in it as a choice.
    """

    name: str
    value: Any
    chosen_text: bool = False


def saved_widgets(definition: dict[str, Any], saved: list | dict | None, kind: str) -> list[Widget]:
    """Return the widgets of a node with their values in a file, in order.

    Args:
        definition: entry of its type in ``/object_info``.
        saved: its ``widgets_values``; some packs save them by name. Values that are missing are the defaults.
        kind: its type.
    """
    values = _ByName(saved) if isinstance(saved, dict) else _InOrder(_without_forced(definition, list(saved or ())))
    widgets, pending = [], list(_inputs(definition))
    while pending:
        name, spec = pending.pop(0)
        if not _is_widget(spec):
            widgets += [Widget(name, UNSAVED[spec[0]])] if _type(spec) in UNSAVED else []
            continue
        value = values.take(name, _default(spec))
        if kind in CONTROLLED and name == "sampler_name" and isinstance(value, str):
            value = value.removeprefix("sample_")
        widgets.append(Widget(name, value, _is_chosen(spec)))
        values.skip_control(name, spec)
        if spec[0] == DYNAMIC_COMBO:  # the chosen option's own inputs come next
            pending[:0] = _chosen_inputs(name, spec, value)
    return widgets + (_options(widgets[0].value, values.rest()) if kind == CUSTOM_COMBO and widgets else [])


def _options(choice: Any, rest: list) -> list[Widget]:
    """Return the other widgets of a Custom Combo: the number of its choice, and the options that a user wrote."""
    options = rest[1:]
    chosen = options.index(choice) if choice in options else -1
    named = [Widget(f"option{number}", option) for number, option in enumerate(options, 1)]
    return [Widget("index", chosen), *named]


def slots(definition: dict[str, Any] | None, saved: list[dict]) -> list[Slot]:
    """Return the inputs of a node in the frontend's order: sockets, then widgets, then inputs that only the file has.

    Args:
        definition: entry of its type in ``/object_info``; None if that isn't installed.
        saved: its ``inputs``.
    """
    links = {slot["name"]: slot.get("link") for slot in saved}
    inputs = list(_inputs(definition)) if definition else []
    sockets = [(name, spec) for name, spec in inputs if not _is_widget(spec) and spec[0] != AUTOGROW]
    widgets = [(name, spec) for name, spec in inputs if _is_widget(spec)]
    defined = [Slot(name, _type(spec), links.get(name)) for name, spec in sockets]
    defined += [Slot(name, _type(spec), links.get(name), True) for name, spec in widgets]
    known = {slot.name for slot in defined}
    more = [slot for slot in saved if slot["name"] not in known]
    return defined + [Slot(one["name"], str(one.get("type", "*")), one.get("link"), "widget" in one) for one in more]


class _ByName:
    """Values of a file that saves them by name."""

    def __init__(self, values: dict):
        self.values = values

    def take(self, name: str, default: Any) -> Any:
        return self.values.get(name, default)

    def rest(self) -> list:
        return []

    def skip_control(self, name: str, spec: Spec) -> None:
        """Do nothing: that value has a name of its own."""


class _InOrder:
    """Values of a file that saves them in order."""

    def __init__(self, values: list):
        self.values, self.position = values, 0

    def take(self, name: str, default: Any) -> Any:
        self.position += 1
        value = self.values[self.position - 1] if self.position <= len(self.values) else default
        return default if value is None else value

    def rest(self) -> list:
        return self.values[self.position :]

    def skip_control(self, name: str, spec: Spec) -> None:
        """Skip the value of "control after generate", which files of 2023 save as true or false, or not at all."""
        if _has_control(name, spec) and self.position < len(self.values):
            value = self.values[self.position]
            self.position += value is None or isinstance(value, bool) or value in CONTROL_WORDS
            if _is_combo(spec):
                self.position += 1  # its filter


def _without_forced(definition: dict[str, Any], values: list) -> list:
    """Remove what older frontends saved for inputs that were made sockets, if they did."""
    forced = []
    for _, spec in _inputs(definition):
        settings = _settings(spec)
        if _is_widget(spec) or settings.get("forceInput"):
            forced.append(bool(settings.get("forceInput")))
            forced += [False] * bool(settings.get("control_after_generate"))
    if len(forced) != len(values):
        return values
    return [value for value, is_forced in zip(values, forced, strict=True) if not is_forced]


def _inputs(definition: dict[str, Any]) -> Iterator[tuple[str, Spec]]:
    """Yield name and specification of every input in the order of the definition."""
    order = definition.get("input_order") or {}
    for group in ("required", "optional"):
        specs = definition["input"].get(group) or {}
        for name in dict.fromkeys([*order.get(group, ()), *specs]):
            if name in specs:
                yield name, specs[name]


def _chosen_inputs(name: str, spec: Spec, value: Any) -> list[tuple[str, Spec]]:
    chosen = next((option for option in _settings(spec).get("options", ()) if option["key"] == value), None)
    return [(f"{name}.{inner}", spec) for inner, spec in _inputs({"input": chosen["inputs"]})] if chosen else []


def _settings(spec: Spec) -> dict[str, Any]:
    return spec[1] if len(spec) > 1 else {}


def _type(spec: Spec) -> str:
    return "COMBO" if isinstance(spec[0], list) else "*" if spec[0] == MATCHED else str(spec[0])


def _is_combo(spec: Spec) -> bool:
    return _settings(spec).get("widgetType", _type(spec)) == "COMBO"


def _is_widget(spec: Spec) -> bool:
    settings = _settings(spec)
    return not settings.get("forceInput") and settings.get("widgetType", _type(spec)) in WIDGET_DEFAULTS


def _is_chosen(spec: Spec) -> bool:
    return bool(_settings(spec).get("dynamicPrompts"))


def _has_control(name: str, spec: Spec) -> bool:
    """Return whether the frontend puts a widget "control after generate" behind this one."""
    kind = _settings(spec).get("widgetType", _type(spec))
    by_name = kind == "INT" and name in SEEDS
    return kind in ("INT", "COMBO") and bool(_settings(spec).get("control_after_generate", by_name))


def _default(spec: Spec) -> Any:
    settings = _settings(spec)
    if "default" in settings:
        return settings["default"]
    options = spec[0] if isinstance(spec[0], list) else settings.get("options")
    if options:
        return options[0]["key"] if isinstance(options[0], dict) else options[0]
    return WIDGET_DEFAULTS.get(settings.get("widgetType", _type(spec)))
