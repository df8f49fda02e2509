"""The types of this pack's own sockets."""

from comfy_api.latest import io

Probe = io.Custom("DIFFUSION_PROBE")
"""A ``probe_models.probe.Probe``."""

Scores = io.Custom("DIFFUSION_PROBE_SCORES")
"""A ``search.scores.Scores``."""

Reward = io.Custom("DIFFUSION_PROBE_REWARD")
"""A judge of finished images: ``judge(images [rows, H, W, 3], prompts) → scores [rows]``, with a ``label``."""
