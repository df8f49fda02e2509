"""State that ComfyUI keeps on the shared model for the current run, exchanged when runs take turns.

Most of it is of hooks (LoRA strengths by prompt or by step): they register patches on the patcher, their keyframes
remember how far the run is, and they patch the model's weights before each call.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...runs.comfy_versions import keyframe_state

_OF_PATCHER = ("hook_patches", "hook_patches_backup", "hook_mode")


class ModelState:
    """One run's values of the model's state, installed while the run, or a model call of it, is computed.

    Args:
        patcher: the MODEL that the run samples, before the run starts.
    """

    def __init__(self, patcher: Any):
        self.patcher = patcher
        self.keyframes: list[Any] = []
        self._mine = self._read()

    def add_hooks(self, model_options: dict[str, Any]) -> None:
        """Add the keyframes of the hooks that the run has registered to its state."""
        hooks = getattr(model_options.get("registered_hooks"), "hooks", ())
        groups = {id(hook.hook_keyframe): hook.hook_keyframe for hook in hooks}
        self.keyframes = [group for group in groups.values() if not group.is_empty()]

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Install the run's values for a while, and the values from before afterwards."""
        outer = self._read()
        self._write(self._mine)
        try:
            yield
        finally:
            self._mine = self._read()
            self._write(outer)

    def use_hooks(self, hooks: Any) -> None:
        """Patch the model's weights with the hooks of a call of this run. Only while its values are installed."""
        if hooks is not None and any(hook.hook_keyframe in self.keyframes for hook in hooks.hooks):
            self.patcher.cached_hook_patches.pop(hooks, None)  # patched at the keyframe of another run
            self.patcher.patch_hooks(None)
        self.patcher.apply_hooks(hooks)

    def _read(self) -> tuple[list[Any], list[dict[str, Any]]]:
        of_model = [self.patcher.model.current_patcher, *(getattr(self.patcher, name) for name in _OF_PATCHER)]
        return of_model, [keyframe_state(group) for group in self.keyframes]

    def _write(self, state: tuple[list[Any], list[dict[str, Any]]]) -> None:
        (self.patcher.model.current_patcher, *of_patcher), of_keyframes = state
        for name, value in zip(_OF_PATCHER, of_patcher, strict=True):
            setattr(self.patcher, name, value)
        for group, values in zip(self.keyframes, of_keyframes):  # none were known when a run started
            vars(group).update(values)
