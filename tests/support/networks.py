"""Sizes of networks that train in no time."""

SMALL = {
    "joint": {"width": 16, "channels": 8, "looking": 1, "seeing": 1, "layers": 2},
    "attention cnn": {"widths": (8, 16), "layers": 1},
    "activation ranker": {"widths": (8, 16), "vector": 16},
    "diffusion probe": {"widths": (8, 16), "layers": 1},
    "probe select": {"widths": (8, 16), "vector": 16, "hidden": 16, "comparing": 16},
}
"""Arguments of the network, by kind of probe."""
