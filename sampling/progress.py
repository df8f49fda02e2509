"""Progress of a search in ComfyUI's own bar: in model rows, with a preview of the leading candidate."""

from collections.abc import Callable
from typing import Any

import comfy.utils
import latent_preview
from torch import Tensor


class RowProgress:
    """Progress in model rows, with ComfyUI's latent preview of one candidate.

    Args:
        model: the MODEL that is sampled.
        evaluations: how many steps the search is expected to make of all candidates together.

    Attributes:
        shown: number of the candidate that is previewed.
    """

    def __init__(self, model: Any, evaluations: int):
        self.evaluations = max(1, evaluations)
        self.shown = 0
        self._bar = comfy.utils.ProgressBar(self.evaluations)
        self._previewer = latent_preview.get_previewer(model.load_device, model.get_model_object("latent_format"))
        self._preview: Any = None

    def callback(self, number: int) -> Callable[[int, Tensor, Tensor, int], None]:
        """The sampler callback of candidate ``number``."""

        def on_step(step: int, x0: Tensor, x: Tensor, total_steps: int) -> None:
            if self._previewer is not None and number == self.shown:
                self._preview = self._previewer.decode_latent_to_preview_image("JPEG", x0)

        return on_step

    def update(self, rows: int, evaluations: int) -> None:
        """``rows`` were computed so far, for ``evaluations`` steps of all candidates together."""
        expected = max(rows, round(rows * self.evaluations / max(1, evaluations)))
        preview, self._preview = self._preview, None
        self._bar.update_absolute(rows, expected, preview)
