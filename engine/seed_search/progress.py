"""Progress of a search in ComfyUI's own bar: in model rows, with a preview of the leading candidate."""

import logging
from collections.abc import Callable
from typing import Any

import comfy.utils
from torch import Tensor

from ..capture.previews import is_stock, new_previewer


class RowProgress:
    """Progress in model rows, with ComfyUI's latent preview of one candidate.

    Args:
        model: the MODEL that is sampled.
        evaluations: how many steps the search is expected to make of all candidates together.

    Attributes:
        shown: number of the candidate that is previewed.
    """

    def __init__(self, model: Any, evaluations: int):
        self.model = model
        self.evaluations = max(1, evaluations)
        self.shown = 0
        self._bar = comfy.utils.ProgressBar(self.evaluations)
        self._drawing: tuple[int, Any] | None = None
        self._preview: Any = None
        self._draws = True

    def callback(self, number: int) -> Callable[[int, Tensor, Tensor, int], None]:
        """The sampler callback of candidate ``number``."""

        def on_step(step: int, x0: Tensor, x: Tensor, total_steps: int) -> None:
            if self._draws and number == self.shown:
                self._draw(number, x0)

        return on_step

    def _draw(self, number: int, x0: Tensor) -> None:
        """A previewer that can't draw is worth no candidate."""
        try:
            previewer = self._previewer(number)
            if previewer is not None:
                self._preview = previewer.decode_latent_to_preview_image("JPEG", x0)
        except Exception as error:
            logging.warning("Diffusion Probe: no previews of a search could be drawn.", exc_info=error)
            self._draws = False

    def _previewer(self, number: int) -> Any:
        """ComfyUI's own for all candidates; another pack's for one, since it may give its last picture back."""
        if self._drawing is None or self._drawing[0] != number and not is_stock(self._drawing[1]):
            self._drawing = number, new_previewer(self.model)
        return self._drawing[1]

    def update(self, rows: int, evaluations: int) -> None:
        """``rows`` were computed so far, for ``evaluations`` steps of all candidates together."""
        expected = max(rows, round(rows * self.evaluations / max(1, evaluations)))
        preview, self._preview = self._preview, None
        self._bar.update_absolute(rows, expected, preview)
