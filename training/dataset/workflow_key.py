"""Keys of recorded runs, made of the nodes that lead to a Record Probe Data, and the prompt.

The node looks for a run with the key before anything is sampled, and a client before anything is queued; so the key is
made of what both know, the workflow in API format.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from .folder import run_key

NODE = "DiffusionProbeRecord"
NOT_PART_OF_A_RUN = ("dataset", "prompt")
"""Inputs of Record Probe Data that don't count as settings of a run: its dataset, and its prompt, which is in the key
anyway."""


def workflow_key(node_of: Callable[[str], dict[str, Any]], number: str, prompt: str) -> str:
    """Compute the key of the run that a Record Probe Data records.

    Args:
        node_of: returns the node of an id, ``{"class_type", "inputs"}``.
        number: id of the Record Probe Data.
        prompt: its input of that name.
    """
    own = {name: value for name, value in node_of(number)["inputs"].items() if name not in NOT_PART_OF_A_RUN}
    digests: dict[str, str] = {}
    return run_key(prompt, [[name, _value(node_of, own[name], digests)] for name in sorted(own)])


def nodes_before(node_of: Callable[[str], dict[str, Any]], number: str) -> dict[str, dict[str, Any]]:
    """Return a node and all that lead to it, by id: as little of a workflow as can be queued to run it again."""
    nodes: dict[str, dict[str, Any]] = {}
    waiting = [number]
    while waiting:
        at = waiting.pop()
        if at not in nodes:
            node = node_of(at)
            nodes[at] = {"class_type": node["class_type"], "inputs": dict(node["inputs"])}
            waiting += [value[0] for value in node["inputs"].values() if is_link(value)]
    return nodes


def is_link(value: Any) -> bool:
    """Return whether the value of an input is a link, ``[id, number of the output]``."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


def _value(node_of: Callable[[str], dict[str, Any]], value: Any, digests: dict[str, str]) -> Any:
    if is_link(value):
        return [_digest(node_of, value[0], digests), value[1]]
    # ComfyUI turns a number into what the input takes: 8 and 8.0 are one setting.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _digest(node_of: Callable[[str], dict[str, Any]], number: str, digests: dict[str, str]) -> str:
    """Compute a digest of a node's type and inputs and those of all nodes before it, without their ids."""
    if number not in digests:
        node = node_of(number)
        inputs = [[name, _value(node_of, value, digests)] for name, value in sorted(node["inputs"].items())]
        text = json.dumps([node["class_type"], inputs], sort_keys=True, default=str)
        digests[number] = hashlib.sha256(text.encode()).hexdigest()
    return digests[number]
