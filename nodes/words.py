"""Encode Words: a prompt that knows where its words are."""

from comfy_api.latest import io

from ..sampling.words import encode_words
from .errors import named_errors


class EncodeWords(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeEncodeWords",
            display_name="Encode Words",
            category="diffusion probe/words",
            description="Encodes a prompt exactly as CLIP Text Encode does, and adds which text positions belong to "
            "which word. Attention Focus and Attention Preview then see words instead of tokens.",
            search_aliases=["clip text encode", "prompt", "token positions", "words", "diffusion probe"],
            inputs=[
                io.Clip.Input("clip", tooltip="The text encoder, as for CLIP Text Encode."),
                io.String.Input(
                    "text",
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip="The prompt. Weights (red:1.2), escapes and embedding:name mean what they always mean.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="conditioning", tooltip="What CLIP Text Encode gives, with the words added."
                ),
                io.String.Output(
                    display_name="words",
                    tooltip="The words by the names under which they can be chosen: a, red, circle, red (2). "
                    "Empty for a text encoder whose tokens the pack can't read.",
                ),
            ],
        )

    @classmethod
    def execute(cls, clip, text: str) -> io.NodeOutput:
        with named_errors("Encode Words"):
            if clip is None:
                raise ValueError("the clip is missing: this checkpoint holds no text encoder. Load one with Load CLIP.")
            conditioning, words = encode_words(clip, text)
        return io.NodeOutput(conditioning, ", ".join(word.name for word in words or ()))


NODES = [EncodeWords]
