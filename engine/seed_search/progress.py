"""Progress of a search: in ComfyUI's own bar, with a preview of the leading candidate, and in the console."""

import logging
from collections.abc import Callable
from typing import Any

import comfy.utils
from torch import Tensor
from tqdm.auto import tqdm

from ..capture.previews import is_stock, new_previewer


class RowProgress:
    """Progress in model rows, with ComfyUI's latent preview of one candidate, and a bar of steps in the console.

    The bar in the console is that of KSampler, over the steps of all candidates together.

    Args:
        model: the MODEL that is sampled.
        steps: how many steps of all candidates together the search is expected to take.

    Attributes:
        shown: number of the candidate that is previewed.
        not_computed: steps of all candidates together that take no model rows, because they were kept.
    """

    def __init__(self, model: Any, steps: int):
        self.model = model
        self.steps = max(1, steps)
        self.shown = 0
        self.not_computed = 0
        self._bar = comfy.utils.ProgressBar(self.steps)
        self._console: tqdm | None = None
        self._previewer_of: tuple[int, Any] | None = None
        self._preview: Any = None
        self._draws = True

    def callback(self, number: int) -> Callable[[int, Tensor, Tensor, int], None]:
        """Return the sampler callback of a candidate."""

        def on_step(step: int, x0: Tensor, x: Tensor, total_steps: int) -> None:
            if self._draws and number == self.shown:
                self._draw(number, x0)

        return on_step

    def _draw(self, number: int, x0: Tensor) -> None:
        """Draw a preview; an error in the previewer ends the previews, not the candidate."""
        try:
            previewer = self._previewer(number)
            if previewer is not None:
                self._preview = previewer.decode_latent_to_preview_image("JPEG", x0)
        except Exception as error:
            logging.warning("Diffusion Probe: no previews of a search could be drawn.", exc_info=error)
            self._draws = False

    def _previewer(self, number: int) -> Any:
        """Return a previewer: of ComfyUI one for all candidates, of another pack a new one for each.

        Another pack's previewer may return its last picture again.
        """
        if self._previewer_of is None or self._previewer_of[0] != number and not is_stock(self._previewer_of[1]):
            self._previewer_of = number, new_previewer(self.model)
        return self._previewer_of[1]

    def update(self, rows: int, steps: int) -> int:
        """Show that ``rows`` model rows were computed so far, for ``steps`` steps of all candidates together.

        Returns:
            The model rows that the whole search is expected to compute.
        """
        computed = max(1, steps - self.not_computed)
        expected = rows + round(rows * max(0, self.steps - steps) / computed)
        preview, self._preview = self._preview, None
        self._bar.update_absolute(rows, expected, preview)
        self._write(steps)
        return expected

    def _write(self, steps: int) -> None:
        """Show the steps done in the console, in a bar that is made with the first ones."""
        if self._console is None:
            self._console = tqdm(total=self.steps, disable=not comfy.utils.PROGRESS_BAR_ENABLED)
        self._console.total = max(steps, self.steps)
        self._console.update(steps - self._console.n)

    def complete(self) -> None:
        """Show that no step is left; a search may end before the steps that were expected."""
        if self._console is not None:
            self._console.total = self._console.n
            self._console.refresh()

    def close(self) -> None:
        """End the bar in the console, also after an error."""
        if self._console is not None:
            self._console.close()
