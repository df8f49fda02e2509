"""Durations as people write them."""

import pytest
from diffusion_probe.engine.core.durations import seconds_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (58.4, "58 s"), (59.6, "1 min"), (220, "3 min 40 s"),
     (3599.7, "1 h"), (3900, "1 h 5 min")],
)  # fmt: skip
def test_durations_are_written_as_people_write_them(seconds, text):
    assert seconds_text(seconds) == text
