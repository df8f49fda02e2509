"""Texts of the prompts of the node that runs now, as a board shows them."""

from collections.abc import Sequence

from ..capture.prompt.graph_texts import EncoderTexts, PromptGraph, is_link, running_node
from ..core.texts import writable

MOST_BYTES = 4096
"""Bound of the text of one prompt, in UTF-8."""


def prompt_texts(inputs: Sequence[str]) -> tuple[str, ...]:
    """Return the texts of the prompts that are connected to inputs of the node that runs now, in their order.

    Args:
        inputs: names of inputs for conditionings; those without a link are left out.

    Returns:
        A text for each link, empty where it is not known. Empty outside of a running prompt.
    """
    if (running := running_node()) is None:
        return ()
    node_id, lookup = running
    links = (lookup(node_id) or {}).get("inputs", {})
    connected = [links[name] for name in inputs if is_link(links.get(name))]
    return tuple(shown_text(PromptGraph(lookup).upstream(link)) for link in connected)


def shown_text(encoders: Sequence[EncoderTexts]) -> str:
    """Return the different texts of a prompt that are known, joined by line breaks, at most 4 kB of them."""
    known = dict.fromkeys(text.strip() for texts in encoders for text in texts if text)
    return short_text("\n".join(text for text in known if text))


def short_text(text: str) -> str:
    """Return a text that UTF-8 can write, of at most 4 kB."""
    data = writable(text).encode()
    if len(data) <= MOST_BYTES:
        return data.decode()
    return data[: MOST_BYTES - len("…".encode())].decode(errors="ignore") + "…"
