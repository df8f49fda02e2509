"""V3 schemas and a few lines of wiring each. Every module ends with its list of nodes."""

from comfy_api.latest import ComfyExtension, io

from . import attach, probes, rewards, seeds, testbed, words

NODES: list[type[io.ComfyNode]] = [
    *attach.NODES,
    *probes.NODES,
    *rewards.NODES,
    *seeds.NODES,
    *testbed.NODES,
    *words.NODES,
]


class DiffusionProbeExtension(ComfyExtension):
    """What ComfyUI asks for this pack's nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
