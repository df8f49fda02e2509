"""VAE that a probe can take from the queued graph, found from the nodes that use the probe.

That is the VAE which decodes what they sample; else the one that is loaded together with their MODEL; else the only one
that any node of the graph is connected to.
"""

import json
from collections.abc import Iterator

from .prompt.graph_texts import class_of, input_types, is_link, running_graph
from .prompt.graph_walk import Nodes, closure, sources, users

Link = tuple[str, int]
"""Id of a node, and the number of its output."""

MODEL_SOURCES = ("MODEL", "GUIDER")
"""Types of the inputs that lead from a sampler to the loader of its model."""


def vae_of_graph() -> tuple[Link | None, str]:
    """Find the VAE for the node that runs now, or whose fingerprint is computed, and has no VAE.

    Returns:
        The output that it comes from, None if none is found; and a text that changes with the nodes that it is
        computed by, empty for none.
    """
    if (running := running_graph()) is None:
        return None, ""
    node_id, nodes = running
    if (link := find_vae(nodes, node_id)) is None:
        return None, ""
    return link, json.dumps([link, {source: nodes[source] for source in sorted(sources(nodes, link[0]))}], default=repr)


def find_vae(nodes: Nodes, node_id: str) -> Link | None:
    """Return the output that a VAE comes from for the node of an id, by the rules of this module.

    Args:
        nodes: nodes of the queued graph by id.
    """
    behind = users(nodes, node_id)
    models = {link for user in behind for link in _links(nodes, user, MODEL_SOURCES)}
    loaded = {found for link in models for found in _loaded_with(nodes, link)}
    decoding = {link for user in behind for link in _links(nodes, user, ("VAE",))}
    anywhere = {link for user in nodes for link in _links(nodes, user, ("VAE",))}
    for candidates in (decoding, loaded, anywhere):
        usable = {link for link in candidates if node_id not in sources(nodes, link[0])}
        if len(usable) == 1:
            return usable.pop()
    return None


def _links(nodes: Nodes, node_id: str, types: tuple[str, ...]) -> Iterator[Link]:
    """Yield the outputs that a node's inputs of these socket types are connected to."""
    known = input_types(nodes[node_id])
    for name, value in nodes[node_id]["inputs"].items():
        if is_link(value) and value[0] in nodes and known.get(name) in types:
            yield value[0], value[1]


def _loaded_with(nodes: Nodes, link: Link) -> Iterator[Link]:
    """Yield the VAE outputs of the nodes that a MODEL is loaded by, following inputs of its types."""
    before = {user: {source for source, _ in _links(nodes, user, MODEL_SOURCES)} for user in nodes}
    for source in closure(link[0], before):
        types = getattr(class_of(nodes[source]), "RETURN_TYPES", ())
        yield from ((source, slot) for slot, kind in enumerate(types) if kind == "VAE")
