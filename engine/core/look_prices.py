"""Prices of looks at candidates of a search, in evaluations of the model.

They are constants of what is computed, so that the same seeds give the same search on every machine. An evaluation
has all its conditionings. Operations are counted as two for a product and its sum; tests count them again.
"""

from dataclasses import dataclass

MEGAPIXEL = 2**20


@dataclass(frozen=True)
class Work:
    """Operations as a polynomial of the image's size in megapixels of 1024², in TFLOP."""

    constant: float = 0.0
    linear: float = 0.0
    quadratic: float = 0.0

    def at(self, pixels: float) -> float:
        """Return the TFLOP for an image of so many pixels."""
        size = pixels / MEGAPIXEL
        return self.constant + size * (self.linear + size * self.quadratic)


EVALUATIONS: dict[str, Work] = {
    # 4096 image tokens a megapixel and 256 of text: 12.9 GFLOP of layers for each, and 57 × 4 × 3072 × tokens²
    "FLUX": Work(3.35, 54.4, 11.75),
    # two rows; of each 60 blocks of 1280 channels on 1024 tokens and 10 of 640 on 4096: 4 × channels × tokens²
    "SDXL": Work(0.11, 11.9, 1.5),
    # 2 × weights of the blocks × tokens, and attention, at 1024², with two rows but for Z-Image and FLUX.2; rounded
    "SD1.5": Work(0.0, 4.5, 3.9),
    "SD3.5": Work(0.0, 58.0, 12.0),
    "Chroma": Work(6.7, 108.8, 23.5),
    "FLUX.2": Work(0.0, 295.0, 29.0),
    "Qwen-Image": Work(0.0, 118.0, 28.0),
    "Z-Image": Work(0.0, 52.0, 10.0),
    "Lumina 2": Work(0.0, 44.0, 9.0),
    "HiDream": Work(0.0, 85.0, 15.0),
}
"""Operations of one evaluation by the family's name."""

OTHER = Work(0.0, 45.0, 5.0)
"""Operations of one evaluation of a model of another family."""

VAE, FAST = "VAE", "fast decoder"

DECODERS = {VAE: Work(0.0, 9.9, 0.55), FAST: Work(0.0, 0.57)}
"""Operations of one image's decode: the VAE of FLUX, SDXL and their relatives, and a TAESD."""

DECODER_SLOWNESS = 2.6
"""Seconds of a decoder for an operation, by those of a model. An estimate that no card was measured for: it makes the
VAE's look about .4 evaluations of FLUX and 2 of SDXL at 1024². ``benchmarks.on_a_gpu`` measures it."""

REWARDS = {
    "ImageReward": 0.12,
    "PickScore": 0.33,
    "HPSv2.1": 0.33,
    "CLIPScore": 0.16,
    "LAION aesthetic": 0.16,
    "SPM (SD1.5)": 0.33,
    "SPM (SDXL)": 0.33,
}
"""TFLOP of a reward model for one image, at any size, by its name in the catalog."""

OTHER_REWARD = 0.33


def look_tflop(decoder: str, pixels: float, reward: float) -> float:
    """Return what a look at a preview takes, in TFLOP of a model.

    Args:
        decoder: one of :data:`DECODERS`.
        pixels: of the image.
        reward: TFLOP of the reward model for one image.
    """
    return DECODERS[decoder].at(pixels) * DECODER_SLOWNESS + reward


def look_price(family: str, pixels: float, tflop: float) -> float:
    """Return the evaluations that take as long as a look.

    Args:
        family: name of the model's family.
        pixels: of the image.
        tflop: what the look takes, as :meth:`Probe.look_tflop`.
    """
    return tflop / EVALUATIONS.get(family, OTHER).at(pixels)
