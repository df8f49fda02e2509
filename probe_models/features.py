"""What a probe may look at: one row of a batch, captured at one moment of its run."""

from dataclasses import dataclass

from torch import Tensor

ATTENTION = "attention"
DENOISED = "denoised"
NEEDS = (ATTENTION, DENOISED)


@dataclass(frozen=True)
class Features:
    """One candidate at one moment.

    Attributes:
        family: name of the model family, for example ``"flux"``.
        moment: the moment as it was asked for, for example ``"20%"`` or ``"step 5"``.
        step: which model evaluation of the run this was, counted from 1.
        sigma: noise level of that evaluation, in the model's own sigmas.
        percent: the same as a fraction of the schedule's noise range, 0 (pure noise) to 1.
        blocks: names of the attention blocks, in the order of the first axis of ``attention``.
        attention: cross-attention of image queries to text keys, ``[blocks, tokens, height, width]``
            float16 on the CPU, averaged over heads, area-averaged to a grid of at most
            ``capture.GRID`` on the longer side. Each value is a softmax weight: over all keys
            (text and image) it sums to 1, so over the tokens to at most 1. Tokens of several
            conditioning entries follow each other. None unless asked for.
        denoised: the x0 prediction in the VAE's latent space, ``[channels, ...]`` float32 on the
            CPU. None unless asked for.
    """

    family: str
    moment: str
    step: int
    sigma: float
    percent: float
    blocks: tuple[str, ...] = ()
    attention: Tensor | None = None
    denoised: Tensor | None = None
