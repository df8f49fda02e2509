"""Capture of one evaluation: what the hooks in the model's calls fill, and why some of it may be missing.

A capture never ends a run: any error in it is caught once, logged, and reported where the user reads scores.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID

from comfy.model_management import InterruptProcessingException

from ...core.features import ACTIVATION, ATTENTION
from ...runs.keys import CAPTURES, CAPTURING
from ...runs.options import put
from .activation import NO_ACTIVATION, ActivationMaps
from .families import block_names
from .maps import NO_ATTENTION, AttentionMaps, Region, region_of

Sharers = tuple[tuple[UUID, "EvaluationCapture | None"], ...]
"""Equal shares of a conditioning entry's rows in a model call, in order; the values under ``keys.CAPTURES``.

Each share is the entry's uuid in the run that the rows are of, and that run's capture, None for a run that captures
nothing. A call of one run has one share."""


def unexpected(error: Exception) -> str:
    """Return the sentence for the user about an error in the pack's own code during a run."""
    return (
        f"there was an error in this pack ({type(error).__name__}: {error}), and the run went on without it. "
        "Please report it, with the log"
    )


@contextmanager
def guarded(*captures: "EvaluationCapture") -> Iterator[None]:
    """Run code of the pack inside of a sampler run: an error ends the captures, not the run."""
    try:
        yield
    except InterruptProcessingException:
        raise
    except Exception as error:
        for capture in captures:
            capture.give_up(error)


def open_captures(options: dict[str, Any]) -> list["EvaluationCapture"]:
    """Return the captures that a model call with these ``transformer_options`` is for."""
    shares = (share for sharers in (options.get(CAPTURES) or {}).values() for share in sharers)
    captures = dict.fromkeys(capture for _, capture in shares)
    return [capture for capture in captures if capture is not None and capture.open]


class EvaluationCapture:
    """Capture of one evaluation of a run.

    Args:
        rows: number of rows of the latent.
        height, width: of the latent.
        conds: the conditioning entries that are captured, as the guider processed them.
        maps, activation: None where these are not needed.

    Attributes:
        open: whether the evaluation is running and no error has occurred in the capture.
    """

    def __init__(
        self,
        rows: int,
        height: int,
        width: int,
        conds: list[dict[str, Any]],
        maps: AttentionMaps | None = None,
        activation: ActivationMaps | None = None,
    ):
        self.rows, self.height, self.width = rows, height, width
        self.conds = {cond["uuid"]: cond for cond in conds}
        self.maps, self.activation = maps, activation
        self.open = True
        self._why = ""

    @contextmanager
    def installed(self, model_options: dict[str, Any]) -> Iterator[None]:
        """Capture the model calls of an evaluation with these ``model_options`` while the block runs."""
        options = model_options.get("transformer_options", {})  # a sampler may omit them: then nothing is captured
        with ExitStack() as stack:
            put(stack, options, CAPTURING, True)
            if self.maps is not None or self.activation is not None:
                put(stack, options, CAPTURES, {uuid: ((uuid, self),) for uuid in self.conds})
            try:
                yield
            finally:
                self.open = False
                if (now := model_options.get("transformer_options")) is not options and now is not None:
                    for name in (CAPTURING, CAPTURES):  # another pack has put a changed copy in its place
                        now.pop(name, None)

    def region(self, uuid: Any) -> Region:
        """Return the region of the latent that a conditioning entry covers."""
        return region_of(self.conds[uuid], self.height, self.width)

    def refuse(self, why: str) -> None:
        """Note why nothing of a model call can be captured; the first reason counts."""
        self._why = self._why or why

    def give_up(self, error: Exception) -> None:
        """Release what was captured of this evaluation, and capture no more of it."""
        if self.open:
            logging.warning("Diffusion Probe: an error while capturing a run, which goes on.", exc_info=error)
        self.open, self._why = False, unexpected(error)
        for capture in (self.maps, self.activation):
            if capture is not None:
                capture.clear()

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences for the user about the attention maps."""
        return tuple(dict.fromkeys(self.maps.remarks.values())) if self.maps is not None else ()

    def why(self) -> dict[str, str]:
        """Return the reasons why needed features are missing, by the features' name or the attention block's."""
        reasons = {}
        if self.maps is not None:
            missing = self.maps.missing()
            if len(missing) == len(self.maps.token_sides):
                reasons[ATTENTION] = self._why or next(iter(self.maps.why.values()), NO_ATTENTION)
            else:
                reasons = dict(zip(block_names(missing), missing.values(), strict=True))
        if self.activation is not None and not self.activation.captured:
            reasons[ACTIVATION] = self._why or self.activation.why or NO_ACTIVATION
        return reasons
