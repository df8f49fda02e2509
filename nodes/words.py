"""Encode Words and Attention Preview: the token positions of words, and the attention each word gets."""

from comfy_api.latest import io

from ..engine.capture.attention_preview import ALL_ROWS, MOST_WORDS, attention_preview
from ..engine.capture.moments import one_moment
from ..engine.capture.prompt.encode import encode_words
from .errors import named_errors
from .sockets import moment_input, probed_latent_input, probed_model_input


class EncodeWords(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeEncodeWords",
            display_name="Encode Words",
            category="diffusion probe/words",
            description="Encodes a prompt exactly as CLIP Text Encode does, and adds which token positions belong to "
            "which word, so that probes and Attention Preview can work by word.",
            search_aliases=["clip text encode", "prompt", "token positions", "words", "diffusion probe"],
            inputs=[
                io.Clip.Input("clip", tooltip="The text encoder, as for CLIP Text Encode."),
                io.String.Input(
                    "text",
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip='The prompt. Weights "(red:1.2)", escapes and "embedding:name" work as usual.',
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="conditioning", tooltip="The conditioning of CLIP Text Encode, with the words added."
                ),
                io.String.Output(
                    display_name="words",
                    tooltip='The names of the words: "a, red, circle, red (2)". Empty for an unknown text encoder.',
                ),
            ],
        )

    @classmethod
    def execute(cls, clip, text: str) -> io.NodeOutput:
        with named_errors("Encode Words"):
            conditioning, words = encode_words(clip, text)
        return io.NodeOutput(conditioning, ", ".join(word.name for word in words or ()))


class AttentionPreview(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeAttentionPreview",
            display_name="Attention Preview",
            category="diffusion probe/words",
            description="Shows which image positions attended to each word at a probe's moment, as a heat map over a "
            "preview of each row. Needs a probe that reads attention.",
            search_aliases=["attention map", "heatmap", "cross attention", "daam", "words", "diffusion probe"],
            inputs=[
                probed_latent_input(),
                probed_model_input(),
                io.String.Input(
                    "words",
                    default="",
                    placeholder="all, or: red, circle, red square",
                    tooltip='Words of the prompt with commas between; "red (2)" is the second "red". '
                    f"Empty: the first {MOST_WORDS}. Needs Encode Words.",
                ),
                io.Int.Input(
                    "row",
                    default=ALL_ROWS,
                    min=ALL_ROWS,
                    max=4095,
                    tooltip="The row of the latent, counted from 0. -1: all rows.",
                ),
                io.Float.Input(
                    "opacity",
                    default=0.75,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How strongly the heat map covers the preview. 0: the preview alone.",
                ),
                io.Int.Input(
                    "size",
                    default=256,
                    min=64,
                    max=2048,
                    step=8,
                    tooltip="Longer side of each picture in pixels, without its caption.",
                ),
                io.Boolean.Input(
                    "captions",
                    default=True,
                    tooltip="Write the row, the word and its largest share of the attention below each picture.",
                ),
                moment_input(),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images", tooltip="One picture per row and word, all words of the first row first."
                ),
                io.String.Output(
                    display_name="captions", tooltip="A line for each picture that says what it shows, in order."
                ),
            ],
        )

    @classmethod
    def execute(cls, latent, model, words, row, opacity, size, captions, moment: str = "") -> io.NodeOutput:
        with named_errors("Attention Preview"):
            images, texts = attention_preview(
                model, latent, words, row, one_moment(moment), opacity=opacity, size=size, captions=captions
            )
        return io.NodeOutput(images, "\n".join(texts))


NODES = [EncodeWords, AttentionPreview]
