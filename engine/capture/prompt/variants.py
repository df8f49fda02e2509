"""Conditionings of other wordings of a prompt, with all that nodes behind its text encoder added to it."""

from typing import Any

from .encode import encode_words


def encoded_like(clip: Any, text: str, pattern: list | None) -> list:
    """Encode a text as CLIP Text Encode does, and add what another conditioning has beside its text.

    Args:
        clip: the text encoder.
        text: the wording.
        pattern: a CONDITIONING of another wording, whose guidance, ControlNets, masks and the like are taken over from
            its first entry; None: nothing is.
    """
    encoded = encode_words(clip, text)[0]
    added = pattern[0][1] if pattern else {}
    return [[context, {**added, **entry}] for context, entry in encoded]
