"""One sampler run that can stand still: a stock run of batch 1 in a greenlet of its own.

So it is what KSampler gives for its seed, whatever the sampler does with history and noise. What
torch keeps for the whole thread (random state, grad mode) and ComfyUI for the whole model every run
has for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .batching import ModelCall
from .model_state import ModelState
from .moments import SIGMA_TOLERANCE

PAUSED, SAMPLED = "paused", "sampled"


def _greenlets() -> Any:
    try:
        import greenlet
    except ImportError as error:
        raise ValueError(
            "the Python package greenlet is missing, in which the candidates' runs stand still. "
            "Install this pack's requirements.txt into ComfyUI's Python: python -m pip install greenlet"
        ) from error
    return greenlet


def current_run() -> Run:
    """The run that calls this from inside."""
    return _greenlets().getcurrent().candidate


def leave(value: Any) -> Any:
    """Stand still, from inside of a run; what it is resumed with."""
    return _greenlets().getcurrent().parent.switch(value)


@dataclass(eq=False)
class Run:
    """One candidate's run.

    Attributes:
        sample: does the whole run, and returns its latent.
        state: of the model it samples.
        goal: how far it may go, as :attr:`reached`.
        sampler: name of its sampler function; empty before it started.
        sigmas: its schedule.
        reached: s, when all evaluations at noise levels above ``sigmas[s]`` are done.
        evaluations: model evaluations it made (NFE).
        model_rows: forwards of one latent for one cond that were spent on it.
        waiting: the model call it stands at.
        paused: it stands before the first evaluation behind its goal.
        sampled: its sampler is done, its clean-up isn't.
        samples: the latent in the model's own space, from then on.
        result: the latent, once it has ended well.
        error: what ended it otherwise.
    """

    sample: Callable[[], Tensor]
    state: ModelState
    goal: int = 0
    sampler: str = ""
    sigmas: list[float] = field(default_factory=list)
    reached: int = 0
    evaluations: int = 0
    model_rows: int = 0
    waiting: ModelCall | None = None
    paused: bool = False
    sampled: bool = False
    samples: Tensor | None = None
    result: Tensor | None = None
    error: Exception | None = None

    def __post_init__(self) -> None:
        self._greenlet = _greenlets().greenlet(self.sample)
        self._greenlet.candidate = self  # `run` is greenlet's own
        self._greenlet.gr_context = copy_context()
        self._random_state = torch.get_rng_state()
        self._grad_enabled = torch.is_grad_enabled()

    @property
    def steps(self) -> int:
        """Of the whole schedule."""
        return max(0, len(self.sigmas) - 1)

    def place(self, sigma: float) -> int:
        """How far a run is that is about to evaluate at ``sigma``."""
        return max((s for s, level in enumerate(self.sigmas) if level * (1 + SIGMA_TOLERANCE) >= sigma), default=0)

    def resume(self, *answer: Any) -> None:
        """Go on, with the model's answer if it waits for one, until it stands still again or ends."""
        self._switch(lambda: self._greenlet.switch(*answer))

    def fail(self, error: BaseException) -> None:
        """End the run where it stands, as if what it waits for had raised ``error``."""
        self._switch(lambda: self._greenlet.throw(error))

    def stop(self) -> None:
        """End it where it stands, if it does; its clean-up runs."""
        if self.waiting is not None or self.paused or self.sampled:
            self.fail(_greenlets().GreenletExit())

    def _switch(self, switch: Callable[[], Any]) -> None:
        outer = torch.get_rng_state(), torch.is_grad_enabled()
        self.waiting, self.paused, self.sampled = None, False, False
        torch.set_rng_state(self._random_state)
        torch.set_grad_enabled(self._grad_enabled)
        try:
            with self.state.in_place():
                returned = switch()
        except Exception as error:
            self.error = error
        else:
            self._stands(returned)
        finally:
            self._random_state, self._grad_enabled = torch.get_rng_state(), torch.is_grad_enabled()
            torch.set_rng_state(outer[0])
            torch.set_grad_enabled(outer[1])

    def _stands(self, returned: Any) -> None:
        """What it came back with: a model call, a place to stand, or its result."""
        if isinstance(returned, ModelCall):
            self.waiting = returned
        elif returned is PAUSED:
            self.paused = True
        elif returned is SAMPLED:
            self.sampled = True
        elif not isinstance(returned, _greenlets().GreenletExit):
            self.result = returned
