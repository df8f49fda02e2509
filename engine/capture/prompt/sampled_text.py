"""Text that a run's prompt was encoded from, so that images can be scored by it without another wire.

Encode Words notes the text in its conditioning. For other nodes that encode text, the graph of the running prompt is
followed upwards, to a text that is written in a node. A text that is computed, or joined from several, isn't known.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from .graph_texts import TO_CONDITIONING, PromptGraph, running_node

KEY = "diffusion_probe_text"
"""Key in a conditioning's dict of the text that Encode Words encoded."""


def sampled_text(entries: Sequence[Mapping[str, Any]], inputs: Sequence[str] = TO_CONDITIONING) -> str:
    """Return the text of a prompt; empty if it isn't known.

    Args:
        entries: the dicts of its conditioning's entries.
        inputs: inputs of the node that runs now, which lead to the conditioning; the first that is linked counts.
    """
    noted = {entry[KEY] for entry in entries if isinstance(entry.get(KEY), str)}
    encoders = []
    if (running := running_node()) is not None:
        node_id, lookup = running
        encoders = PromptGraph(lookup).before(node_id, inputs)
    if noted and len(encoders) < 2:  # Concat and Average keep the note of one of two texts
        return noted.pop() if len(noted) == 1 else ""
    return _the_one([_the_one(texts) for texts in encoders]) or ""


def _the_one(texts: Sequence[str | None]) -> str | None:
    """Return the text that all are, blank ones left out; None if one isn't known or several differ."""
    written = {text for text in texts if text is None or text.strip()}
    return written.pop() if len(written) == 1 else None
