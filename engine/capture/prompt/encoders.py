"""Table of text encoders: which of their streams of tokens are the positions of the context."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from comfy.sd1_clip import SD1ClipModel, SD1Tokenizer
from comfy.sdxl_clip import SDXLClipModel, SDXLTokenizer
from comfy.text_encoders.flux import Flux2TEModel, FluxClipModel, FluxTokenizer, KleinTokenizer
from comfy.text_encoders.hidream import HiDreamTEModel, HiDreamTokenizer
from comfy.text_encoders.qwen_image import QwenImageTEModel, QwenImageTokenizer
from comfy.text_encoders.sd3_clip import SD3ClipModel, SD3Tokenizer
from comfy.text_encoders.z_image import ZImageTEModel, ZImageTokenizer

Stream = tuple[str, str, str]
"""Stream of tokens: its name, and the names of its attribute in the tokenizer and in the model."""


@dataclass(frozen=True)
class Encoder:
    """Kind of text encoder whose context has one position per token.

    Attributes:
        tokenizer, model: ComfyUI's classes. A subclass counts if it doesn't override the method that
            makes the tokens, or the context.
        segments: returns the streams of a CLIP whose positions are the context's: segments that follow each other,
            each with the streams that share its positions.
        cut: whether the context lacks its first positions, those of a template.
    """

    tokenizer: Any
    model: Any
    segments: Callable[[Any], Sequence[Sequence[Stream]]]
    cut: bool = False

    def fits(self, clip: Any) -> bool:
        """Return whether a CLIP is of this kind."""
        return (
            getattr(type(clip.tokenizer), "tokenize_with_weights", None) is self.tokenizer.tokenize_with_weights
            and getattr(type(clip.cond_stage_model), "encode_token_weights", None) is self.model.encode_token_weights
        )


def _one(clip: Any) -> Sequence[Sequence[Stream]]:
    """Return the segment of an encoder with a single text model."""
    model = clip.cond_stage_model
    return [[(model.clip_name, clip.tokenizer.clip, model.clip)]]


def _sd3(clip: Any) -> Sequence[Sequence[Stream]]:
    """Return the segments of SD3's encoder, of whose three text models any may be missing."""
    segments = [[("l", "clip_l", "clip_l"), ("g", "clip_g", "clip_g")], [("t5xxl", "t5xxl", "t5xxl")]]
    present = [[stream for stream in each if getattr(clip.cond_stage_model, stream[2])] for each in segments]
    return [segment for segment in present if segment]


def _hidream(clip: Any) -> Sequence[Sequence[Stream]]:
    """Return the segments of HiDream's encoder, whose CLIPs give the pooled output only.

    There are none where a text model is missing, because its positions are replaced by another number.
    """
    both = all(getattr(clip.cond_stage_model, name) for name in ("t5xxl", "llama"))
    return [[("t5xxl", "t5xxl", "t5xxl")], [("llama", "llama", "llama")]] if both else []


ENCODERS = (
    Encoder(SD1Tokenizer, SD1ClipModel, _one),  # SD1.5 and SD2, Chroma, and others that are built in the same way
    Encoder(SDXLTokenizer, SDXLClipModel, lambda clip: [[("l", "clip_l", "clip_l"), ("g", "clip_g", "clip_g")]]),
    Encoder(FluxTokenizer, FluxClipModel, lambda clip: [[("t5xxl", "t5xxl", "t5xxl")]]),  # CLIP-L: pooled output only
    Encoder(SD3Tokenizer, SD3ClipModel, _sd3),
    Encoder(QwenImageTokenizer, QwenImageTEModel, _one, cut=True),
    Encoder(ZImageTokenizer, ZImageTEModel, _one),
    Encoder(KleinTokenizer, Flux2TEModel, _one),
    Encoder(HiDreamTokenizer, HiDreamTEModel, _hidream),
)
