"""One evaluation that is looked at: what is wanted of it, and why some of it could not be had.

A look never ends a run: whatever goes wrong in it is caught once, logged, and said where the user reads scores.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID

from comfy.model_management import InterruptProcessingException

from ...core.features import ACTIVATION, ATTENTION
from ...runs.keys import LOOKING, TAPS
from ...runs.options import put
from .activation import NO_ACTIVATION, ActivationMaps
from .families import block_names
from .maps import NO_ATTENTION, AttentionMaps, Region, region_of

Sharers = tuple[tuple[UUID, "Look | None"], ...]
"""Value under ``keys.TAPS`` for each entry.

Equal shares of an entry's rows, in order: the entry as the run names it that the rows are of, and that run's look,
None for a run that doesn't look. A call that is not joined has one."""


def unexpected(error: Exception) -> str:
    """Describe for the user an error in the pack's own code while a run went on."""
    return (
        f"there was an error in this pack ({type(error).__name__}: {error}), and the run went on without it. "
        "Please report it, with the log"
    )


@contextmanager
def guarded(*looks: "Look") -> Iterator[None]:
    """Run code of the pack inside of a sampler run: an error ends the looks, not the run."""
    try:
        yield
    except InterruptProcessingException:
        raise
    except Exception as error:
        for look in looks:
            look.give_up(error)


def open_looks(options: dict[str, Any]) -> list["Look"]:
    """Find the open looks at a call with these ``transformer_options``."""
    looks = dict.fromkeys(look for sharers in (options.get(TAPS) or {}).values() for _, look in sharers)
    return [look for look in looks if look is not None and look.open]


class Look:
    """Capture of one evaluation.

    Args:
        rows: how many the latent has.
        height, width: of the latent.
        conds: the conditioning entries that are looked at, as the guider processed them.
        maps, activation: what takes these; None where they aren't asked for.

    Attributes:
        open: whether the evaluation goes on and nothing went wrong in the look.
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
    def on(self, model_options: dict[str, Any]) -> Iterator[None]:
        """Look, as long as an evaluation with these ``model_options`` lasts."""
        options = model_options.get("transformer_options", {})  # a sampler may leave them out: then nothing is seen
        with ExitStack() as stack:
            put(stack, options, LOOKING, True)
            if self.maps is not None or self.activation is not None:
                put(stack, options, TAPS, {uuid: ((uuid, self),) for uuid in self.conds})
            try:
                yield
            finally:
                self.open = False
                if (now := model_options.get("transformer_options")) is not options and now is not None:
                    for name in (LOOKING, TAPS):  # another pack has put a changed copy in its place
                        now.pop(name, None)

    def region(self, uuid: Any) -> Region:
        """Find the region of the latent that a conditioning entry is for."""
        return region_of(self.conds[uuid], self.height, self.width)

    def refuse(self, why: str) -> None:
        """Note that nothing can be captured of a call of the model; the first reason counts."""
        self._why = self._why or why

    def give_up(self, error: Exception) -> None:
        """Take nothing of this evaluation."""
        if self.open:
            logging.warning("Diffusion Probe: an error while looking into a run, which goes on.", exc_info=error)
        self.open, self._why = False, unexpected(error)
        for part in (self.maps, self.activation):
            if part is not None:
                part.clear()

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that a user should know of what was captured."""
        return tuple(dict.fromkeys(self.maps.notes.values())) if self.maps is not None else ()

    def why(self) -> dict[str, str]:
        """Say for each wanted feature, or block of the attention, that was not captured why."""
        reasons = {}
        if self.maps is not None:
            missing = self.maps.missing()
            if len(missing) == len(self.maps.token_sides):
                reasons[ATTENTION] = self._why or next(iter(self.maps.why.values()), NO_ATTENTION)
            else:
                reasons = dict(zip(block_names(missing), missing.values(), strict=True))
        if self.activation is not None and not self.activation.found:
            reasons[ACTIVATION] = self._why or self.activation.why or NO_ACTIVATION
        return reasons
