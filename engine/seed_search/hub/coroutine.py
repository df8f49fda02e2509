"""One sampler run that can stand still: a stock run of batch 1 in a greenlet of its own.

So it is what KSampler gives for its seed, whatever the sampler does with history and noise. What
torch keeps for the whole thread (random states, grad mode) and ComfyUI for the whole model every run
has for itself.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...capture.moments import SIGMA_TOLERANCE
from ...core.texts import log_encoding, writable
from ...runs.keys import announce_looks
from ...runs.model_wrappers import ModelCall
from .model_state import ModelState
from .patch_state import Change, PatchState, Values

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


def is_inside_run() -> bool:
    """Whether what calls this belongs to a run, rather than to the hub or to another thread."""
    return hasattr(_greenlets().getcurrent(), "candidate")


def leave(value: Any) -> Any:
    """Stand still, from inside of a run; what it is resumed with."""
    return _greenlets().getcurrent().parent.switch(value)


@dataclass(frozen=True)
class Own:
    """What a run has for itself at one time: states of random generators, and values of patches' state."""

    random_states: list[Tensor]
    kept: Values


@dataclass(eq=False)
class Run:
    """One candidate's run.

    Attributes:
        sample: does the whole run, and returns its latent; None once it is forgotten.
        state: of the model it samples.
        patches: the state of other packs' patches, of which each run has its own.
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
        random_states: of the CPU's generator and the GPU's, while it stands still.
        kept: what it has of the patches' state, while it stands still.
        error: what ended it otherwise; logged, and without its traceback, whose frames hold its tensors.
    """

    sample: Callable[[], Tensor] | None
    state: ModelState
    patches: PatchState = field(default_factory=PatchState)
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
        self._greenlet.gr_context = context = copy_context()
        context.run(announce_looks, self.next_look)
        self.random_states = self._read_random_states()
        self.kept: Values = {}
        self._grad_enabled = torch.is_grad_enabled()

    @property
    def steps(self) -> int:
        """Of the whole schedule."""
        return max(0, len(self.sigmas) - 1)

    def next_look(self) -> int:
        """Give where it will stand still next, as :attr:`reached`; 0 on the way to the end."""
        return self.goal if self.goal < self.steps else 0

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

    def forget(self) -> None:
        """Let go of what it ran, after its end: that leads back to the run and to all others."""
        self._greenlet = self.sample = None
        self.kept = {}

    @contextmanager
    def in_place(self) -> Iterator[list[Change]]:
        """Put in place what the run has for itself: random states, and its state of the model and of its patches.

        Yields:
            A list that holds what changed of the patches' state, once the context has ended.
        """
        outer = self._read_random_states()
        self._write_random_states(self.random_states)
        try:
            with self.state.in_place(), self.patches.exchanged(self.kept) as changes:
                yield changes
        finally:
            self.random_states = self._read_random_states()
            self._write_random_states(outer)

    def own(self) -> Own:
        """What the run has for itself, to be given back to :meth:`restore`."""
        return Own(self.random_states, dict(self.kept))

    def restore(self, own: Own) -> None:
        """Take back what happened to it since."""
        self.random_states = own.random_states
        self.kept.clear()
        self.kept.update(own.kept)

    def drew_since(self, states: list[Tensor]) -> bool:
        """Whether random numbers were drawn since :attr:`random_states` were these."""
        return not all(map(torch.equal, states, self.random_states))

    def _switch(self, switch: Callable[[], Any]) -> None:
        outer = torch.is_grad_enabled()
        self.waiting, self.paused, self.sampled = None, False, False
        torch.set_grad_enabled(self._grad_enabled)
        try:
            with self.in_place():
                returned = switch()
        except Exception as error:
            said = writable("".join(traceback.format_exception(error)), log_encoding())
            logging.warning("Diffusion Probe: a candidate failed: %s", said)
            self.error = error.with_traceback(None)
        else:
            self._stands(returned)
        finally:
            self._grad_enabled = torch.is_grad_enabled()
            torch.set_grad_enabled(outer)

    def _read_random_states(self) -> list[Tensor]:
        """Of the CPU, and of the GPU that it samples on: samplers of other packs draw noise there."""
        device = self.state.patcher.load_device
        return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]

    def _write_random_states(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        for state in states[1:]:
            torch.cuda.set_rng_state(state, self.state.patcher.load_device)

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
