"""Durations as text."""


def seconds_text(seconds: float) -> str:
    """Return a duration as people write it: ``"0.4 s"``, ``"58 s"``, ``"3 min 40 s"`` or ``"1 h 5 min"``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
