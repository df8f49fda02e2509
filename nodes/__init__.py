"""The nodes: a V3 schema and a few lines of wiring each. Every module of nodes ends with their list."""

from comfy_api.latest import ComfyExtension, io

from ..engine.board.route import add_route
from . import (
    attach,
    cache,
    evaluate,
    gate,
    other_packs,
    probes,
    prompt_loop,
    prune,
    record,
    rewards,
    save,
    search,
    search_custom,
    seeds,
    testbed,
    train,
    words,
)
from .guard import guarded
from .installed_route import add_installed_route

MODULES = (
    attach,
    cache,
    evaluate,
    gate,
    other_packs,
    probes,
    prompt_loop,
    prune,
    record,
    rewards,
    save,
    search,
    search_custom,
    seeds,
    testbed,
    train,
    words,
)
NODES: list[type[io.ComfyNode]] = [guarded(node) for module in MODULES for node in module.NODES]


class DiffusionProbeExtension(ComfyExtension):
    """The pack as ComfyUI's entry point gives it."""

    async def on_load(self) -> None:
        add_route()
        add_installed_route()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
