"""Expansion of a node that runs into nodes of the same graph, as ComfyUI's executor does it."""

from typing import Any

from comfy_api.latest import io
from comfy_execution.graph_utils import GraphBuilder

from ..engine.capture.prompt.graph_texts import running_graph


def run_again(node: type[io.ComfyNode], graph: GraphBuilder | None = None, **inputs: Any) -> io.NodeOutput:
    """Return the outputs of a node of the same class, inputs and links as the one that runs now, but for some inputs.

    Args:
        node: class of the node, whose schema enables expansion.
        graph: nodes that the inputs are linked to, which run too.
        inputs: values, or links ``[node id, output]``.
    """
    node_id, nodes = running_graph()
    builder = GraphBuilder() if graph is None else graph
    again = builder.node(nodes[node_id]["class_type"], **{**nodes[node_id]["inputs"], **inputs})
    outputs = range(len(node.define_schema().outputs))
    return io.NodeOutput(*[again.out(number) for number in outputs], expand=builder.finalize())
