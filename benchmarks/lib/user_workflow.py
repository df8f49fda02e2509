"""A user's workflow, run in this process as far as its sampler: its model, conditionings and settings."""

import asyncio
import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diffusion_probe.nodes import NODES
from diffusion_probe.probe_models.preview import PreviewReward

import nodes as comfy_nodes
from training.client.workflow import load_prompt

SAMPLERS = ("DiffusionProbeSeedSearch", "KSampler")
"""Nodes whose inputs are measured; the first that the workflow has."""

SETTINGS = ("steps", "cfg", "sampler_name", "scheduler")
OWN, PREVIEW = "DiffusionProbe", "DiffusionProbePreviewReward"

Prompt = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Subject:
    """Model, conditionings and settings that a workflow samples.

    Attributes:
        model: the MODEL, without nodes of the pack on it.
        positive, negative: CONDITIONING.
        latent: LATENT of one row.
        settings: steps, CFG, sampler and scheduler, as KSampler takes them.
        denoise: as of KSampler.
        probe: the workflow's preview reward; None if it has none.
    """

    model: Any
    positive: list
    negative: list
    latent: dict[str, Any]
    settings: tuple[int, float, str, str]
    denoise: float
    probe: PreviewReward | None


def load(path: Path) -> Subject:
    """Run a workflow as far as its sampler, and return what that samples.

    Args:
        path: a saved workflow, or one in API format.

    Raises:
        SystemExit: it has no sampler that can be measured, or nodes of other packs; the message says what to do.
    """
    classes = registered()
    try:
        prompt = load_prompt(path, {name: node_info(name, node) for name, node in classes.items()})
    except (OSError, ValueError) as error:
        raise SystemExit(f"the workflow can't be read: {error}") from None
    found = [node for kind in SAMPLERS for node in prompt.values() if node["class_type"] == kind]
    if not found:
        raise SystemExit(f"the workflow has none of {', '.join(SAMPLERS)}. Give one that samples by KSampler.")
    return Graph(prompt, classes).subject(found[0]["inputs"])


def registered() -> dict[str, type]:
    """Return the classes of core's nodes and of this pack's, by name."""
    asyncio.run(comfy_nodes.init_builtin_extra_nodes())
    return {**comfy_nodes.NODE_CLASS_MAPPINGS, **{node.GET_SCHEMA().node_id: node for node in NODES}}


def node_info(name: str, node: type) -> dict[str, Any]:
    """Return what the server's ``/object_info`` says of a node, as far as a saved workflow is read by it."""
    if hasattr(node, "GET_NODE_INFO_V1"):
        info = node.GET_NODE_INFO_V1()
        return info if isinstance(info, dict) else asdict(info)
    inputs = node.INPUT_TYPES()
    outputs = list(getattr(node, "RETURN_TYPES", ()))
    return {
        "name": name,
        "display_name": comfy_nodes.NODE_DISPLAY_NAME_MAPPINGS.get(name, name),
        "input": inputs,
        "input_order": {part: list(each) for part, each in inputs.items()},
        "output": outputs,
        "output_name": list(getattr(node, "RETURN_NAMES", outputs)),
        "output_is_list": [False] * len(outputs),
        "output_node": getattr(node, "OUTPUT_NODE", False),
    }


class Graph:
    """Nodes of a prompt, each run once when its outputs are wanted.

    Args:
        prompt: in API format.
        classes: of the nodes, by name.
    """

    def __init__(self, prompt: Prompt, classes: Mapping[str, type]):
        self.prompt, self.classes = prompt, classes
        self._outputs: dict[str, Any] = {}

    def subject(self, inputs: Mapping[str, Any]) -> Subject:
        """Return what a sampler with these inputs samples."""
        latent = self.value(inputs["latent_image"])
        previews = [node for node in self.prompt.values() if node["class_type"] == PREVIEW]
        return Subject(
            model=self.value(self._below_own(inputs["model"])),
            positive=self.value(inputs["positive"]),
            negative=self.value(inputs["negative"]),
            latent={"samples": latent["samples"][:1]},
            settings=tuple(self.value(inputs[name]) for name in SETTINGS),
            denoise=self.value(inputs.get("denoise", 1.0)),
            probe=self._preview(previews[0]["inputs"]) if previews else None,
        )

    def value(self, given: Any) -> Any:
        """Return the value of an input: what a link leads to, or the value itself."""
        if not (isinstance(given, list) and len(given) == 2 and str(given[0]) in self.prompt):
            return given
        return self.outputs(str(given[0]))[given[1]]

    def outputs(self, node_id: str) -> Any:
        """Run a node, or return what it returned before.

        Raises:
            SystemExit: a node of another pack.
        """
        if node_id not in self._outputs:
            node = self.prompt[node_id]
            kind = self.classes.get(node["class_type"])
            if kind is None:
                raise SystemExit(f"{node['class_type']} is of another pack. Replace it by a node of ComfyUI's own.")
            self._outputs[node_id] = run(kind, {name: self.value(given) for name, given in node["inputs"].items()})
        return self._outputs[node_id]

    def _below_own(self, link: Any) -> Any:
        """Return the link of a MODEL from before nodes of the pack."""
        node = self.prompt[str(link[0])]
        own = node["class_type"].startswith(OWN) and "model" in node["inputs"]
        return self._below_own(node["inputs"]["model"]) if own else link

    def _preview(self, inputs: Mapping[str, Any]) -> PreviewReward:
        links = [given for node in self.prompt.values() for name, given in node["inputs"].items() if name == "vae"]
        if not links:
            raise SystemExit("no node of the workflow has a VAE, which Preview Reward decodes by. Connect one to it.")
        values = {name: self.value(given) for name, given in inputs.items()}
        return run(self.classes[PREVIEW], {"vae": self.value(links[0]), **values})[0]


def run(node: type, inputs: Mapping[str, Any]) -> Any:
    """Run a node of either API and return its outputs."""
    if hasattr(node, "GET_SCHEMA"):
        result = node.execute(**inputs)
    else:
        result = getattr(node(), node.FUNCTION)(**inputs)
    if inspect.iscoroutine(result):
        result = asyncio.run(result)
    return result["result"] if isinstance(result, dict) else result


def texts_of(path: Path) -> set[str]:
    """Return all texts of a workflow of more than three words, which no result file may hold."""
    found: set[str] = set()

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            for each in value:
                collect(each)
        elif isinstance(value, str) and len(value.split()) > 3:
            found.add(value)

    collect(json.loads(path.read_text(encoding="utf-8")))
    return found
