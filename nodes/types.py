"""The types of this pack's own sockets."""

from comfy_api.latest import io

Probe = io.Custom("DIFFUSION_PROBE")
"""A ``engine.core.probe.Probe``."""

Scores = io.Custom("DIFFUSION_PROBE_SCORES")
"""A ``engine.core.scores.Scores``."""

Reward = io.Custom("DIFFUSION_PROBE_REWARD")
"""A ``engine.core.reward.Reward``."""

NEVER_THE_SAME = float("nan")
"""A fingerprint of inputs with which a node is run again, whatever it gave before."""


def hold_inputs() -> list:
    """What a node takes that lets the user choose on its board. They come last, so that older workflows still load."""
    return [
        io.Boolean.Input(
            "hold_for_me",
            default=False,
            optional=True,
            tooltip="Pause after the last cut until you go on, so that what you pin and discard on the board counts. "
            "Runs whose board nobody has open never wait.",
        ),
        io.Int.Input(
            "hold_seconds",
            default=300,
            min=1,
            max=86400,
            optional=True,
            advanced=True,
            tooltip="How long to wait at most. Then the run goes on with what is chosen by then.",
        ),
    ]
