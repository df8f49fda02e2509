"""Graphs in ComfyUI's API format."""


def node(class_type, **inputs):
    """Return a node of a prompt."""
    return {"class_type": class_type, "inputs": inputs}
