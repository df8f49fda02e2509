"""Sampler run that can pause: a stock run of batch 1 in a greenlet of its own.

Its latent is what KSampler returns for its seed, whatever the sampler does with history and noise. Every run has
its own copy of what torch keeps for the whole thread (random states, grad mode) and ComfyUI for the whole model.
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
from .prefix import Prefix, same_guidance

PAUSED, SAMPLED = "paused", "sampled"
"""Values that a run passes to the hub when it has reached its goal, and when its sampler has returned."""


def _greenlets() -> Any:
    try:
        import greenlet
    except ImportError as error:
        raise ValueError(
            "the Python package greenlet is missing, by which the candidates' runs can pause. "
            "Install this pack's requirements.txt into ComfyUI's Python: python -m pip install greenlet"
        ) from error
    return greenlet


def current_run() -> Run:
    """Return the run from inside of which this is called."""
    return _greenlets().getcurrent().candidate


def is_inside_run() -> bool:
    """Tell whether this is called from inside of a run, rather than by the hub or another thread."""
    return hasattr(_greenlets().getcurrent(), "candidate")


def pause(value: Any) -> Any:
    """Pause the run from inside of which this is called, and return what it is resumed with.

    Args:
        value: what the hub receives: a model call, ``PAUSED`` or ``SAMPLED``.
    """
    return _greenlets().getcurrent().parent.switch(value)


@dataclass(frozen=True)
class OwnState:
    """Own state of a run at one time: states of random generators, and values of patches' state."""

    random_states: list[Tensor]
    kept: Values


@dataclass(eq=False)
class Run:
    """Sampler run of one candidate.

    Attributes:
        sample: samples the whole run and returns its latent; None once it is forgotten.
        state: ComfyUI's state of the model for this run.
        patches: the state of other packs' patches, of which each run has its own values.
        goal: position after which it pauses.
        sampler: name of its sampler function; empty before it started.
        sigmas: its schedule.
        at_steps: whether its evaluations are known to be at the noise levels of its schedule, one in each step.
        sigma: noise level of its newest evaluation.
        position: how far it is in its schedule: s, when all evaluations at noise levels above ``sigmas[s]`` are done.
        evaluations: evaluations done (NFE).
        model_rows: model rows spent on it.
        waiting: the model call that it waits for.
        paused: whether it pauses before the first evaluation behind its goal.
        sampled: whether its sampler has returned and its clean-up has not started.
        samples: the latent in the model's own space, from then on.
        result: the latent, once the run has ended without an error.
        random_states: of the CPU's generator and the GPU's, while it pauses.
        kept: its values of the patches' state, while it pauses.
        error: the error that ended it; logged, and without its traceback, whose frames hold its tensors.
        prefix: results of its first evaluations, which are not computed again; None: all are computed.
        skipped: position to which it came by its prefix.
        strayed: whether it came to another latent than its prefix did; it pauses then for ever.
        outputs: results of its evaluations so far, on the CPU, if they are kept.
        keeps: whether they are kept.
        x: the latent that its evaluation gets, while it pauses before it or waits inside of it.
        options: ``model_options`` of its sampler call.
    """

    sample: Callable[[], Tensor] | None
    state: ModelState
    patches: PatchState = field(default_factory=PatchState)
    goal: int = 0
    sampler: str = ""
    sigmas: list[float] = field(default_factory=list)
    at_steps: bool = False
    sigma: float = 0.0
    position: int = 0
    evaluations: int = 0
    model_rows: int = 0
    waiting: ModelCall | None = None
    paused: bool = False
    sampled: bool = False
    samples: Tensor | None = None
    result: Tensor | None = None
    error: Exception | None = None
    prefix: Prefix | None = None
    skipped: int = 0
    strayed: bool = False
    outputs: list[Tensor] = field(default_factory=list)
    keeps: bool = False
    x: Tensor | None = None
    options: dict[str, Any] = field(default_factory=dict)

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
        """Number of steps of the whole schedule."""
        return max(0, len(self.sigmas) - 1)

    def next_look(self) -> int:
        """Return the position at which the run pauses next; 0 on the way to the end."""
        return self.goal if self.goal < self.steps else 0

    def position_at(self, sigma: float) -> int:
        """Return the position in the schedule of a run that is about to evaluate at noise level ``sigma``."""
        return max((s for s, level in enumerate(self.sigmas) if level * (1 + SIGMA_TOLERANCE) >= sigma), default=0)

    def resume(self, *output: Any) -> None:
        """Continue until the run pauses or ends.

        Args:
            output: the model's output, if the run waits for one.
        """
        self._switch(lambda: self._greenlet.switch(*output))

    def fail(self, error: BaseException) -> None:
        """End a paused run, as if what it waits for had raised ``error``."""
        self._switch(lambda: self._greenlet.throw(error))

    def stop(self) -> None:
        """End the run if it is paused; its clean-up runs."""
        if self.waiting is not None or self.paused or self.sampled:
            self.fail(_greenlets().GreenletExit())

    def forget(self) -> None:
        """Release what the run sampled, after its end: it refers to the run and to all others."""
        self._greenlet = self.sample = self.prefix = self.x = None
        self.kept, self.options, self.outputs = {}, {}, []

    def begin_sampler(self, options: dict[str, Any]) -> None:
        """Note the ``model_options`` of a sampler call that begins.

        Results are not kept of a run with hooks, whose keyframes count evaluations, or that samples more than once.
        """
        if self.evaluations or getattr(options.get("registered_hooks"), "hooks", None):
            self.keeps = False
        self.options = options

    def known_output(self) -> Tensor | None:
        """Return the result of the evaluation that has begun, if its prefix has it, on the CPU."""
        number = self.evaluations - 1
        return self.prefix.outputs[number] if self.prefix and number < len(self.prefix.outputs) else None

    def leave_prefix(self, x: Tensor) -> None:
        """Release the prefix at the first evaluation behind it, and pause for ever if its latent is another one."""
        if self.prefix is not None:
            self.strayed = not self.prefix.fits(x)
            self.skipped = self.prefix.position
        self.prefix = None
        while self.strayed:
            pause(PAUSED)

    @contextmanager
    def evaluation_kept(self, options: dict[str, Any]) -> Iterator[None]:
        """Stop to keep results if more than its result comes of an evaluation: random numbers, or values for a sampler.

        Args:
            options: ``model_options`` of the evaluation.
        """
        before = self._read_random_states() if self.keeps else []
        yield
        drew = not all(map(torch.equal, before, self._read_random_states()))
        self.keeps = self.keeps and not drew and same_guidance(options, self.options)

    @contextmanager
    def installed(self) -> Iterator[list[Change]]:
        """Install the run's own state for a while: random states, and its state of the model and of patches.

        Yields:
            A list that holds the changes of the patches' state, once the context has ended.
        """
        outer = self._read_random_states()
        self._write_random_states(self.random_states)
        try:
            with self.state.installed(), self.patches.exchanged(self.kept) as changes:
                yield changes
        finally:
            self.random_states = self._read_random_states()
            self._write_random_states(outer)

    def own_state(self) -> OwnState:
        """Return the run's own state, for :meth:`restore`."""
        return OwnState(self.random_states, dict(self.kept))

    def restore(self, own: OwnState) -> None:
        """Set the run's own state back to what it was."""
        self.random_states = own.random_states
        self.kept.clear()
        self.kept.update(own.kept)

    def drew_since(self, states: list[Tensor]) -> bool:
        """Tell whether random numbers were drawn since :attr:`random_states` were these."""
        return not all(map(torch.equal, states, self.random_states))

    def _switch(self, switch: Callable[[], Any]) -> None:
        outer = torch.is_grad_enabled()
        self.waiting, self.paused, self.sampled = None, False, False
        torch.set_grad_enabled(self._grad_enabled)
        try:
            with self.installed():
                returned = switch()
        except Exception as error:
            message = writable("".join(traceback.format_exception(error)), log_encoding())
            logging.warning("Diffusion Probe: a candidate failed: %s", message)
            self.error = error.with_traceback(None)
        else:
            self._note_returned(returned)
        finally:
            self._grad_enabled = torch.is_grad_enabled()
            torch.set_grad_enabled(outer)

    def _read_random_states(self) -> list[Tensor]:
        """Return the states of the CPU's and the sampling GPU's generator; samplers of other packs draw noise there."""
        device = self.state.patcher.load_device
        states = [torch.get_rng_state()]
        if device.type == "cuda":
            states.append(torch.cuda.get_rng_state(device))
        return states

    def _write_random_states(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        for state in states[1:]:
            torch.cuda.set_rng_state(state, self.state.patcher.load_device)

    def _note_returned(self, returned: Any) -> None:
        """Note what a run returned to the hub: a model call, ``PAUSED``, ``SAMPLED`` or its latent."""
        if isinstance(returned, ModelCall):
            self.waiting = returned
        elif returned is PAUSED:
            self.paused = True
        elif returned is SAMPLED:
            self.sampled = True
        elif not isinstance(returned, _greenlets().GreenletExit):
            self.result = returned
