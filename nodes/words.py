"""Encode Words and Attention Preview: a prompt that knows where its words are, and where the model looks for them."""

from comfy_api.latest import io

from ..engine.capture.attention_preview import ALL_ROWS, MOST_WORDS, attention_preview
from ..engine.capture.moments import one_moment
from ..engine.capture.prompt.encode import encode_words
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
            conditioning, words = encode_words(clip, text)
        return io.NodeOutput(conditioning, ", ".join(word.name for word in words or ()))


class AttentionPreview(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeAttentionPreview",
            display_name="Attention Preview",
            category="diffusion probe/words",
            description="Shows where the attention of each word lay at a probe's moment, as heat over a preview of the "
            "row. The sampled model needs a probe that looks at attention.",
            search_aliases=["attention map", "heatmap", "cross attention", "daam", "words", "diffusion probe"],
            inputs=[
                io.Latent.Input("latent", tooltip="The latent as it left a sampler that ran the probed model."),
                io.Model.Input("model", tooltip="The model from Attach Probe that sampled this latent."),
                io.String.Input(
                    "words",
                    default="",
                    placeholder="all, or: red, circle, red square",
                    tooltip="Words of the prompt, separated by commas. red (2) is the second red; words that follow "
                    f"each other count as one. Empty: the first {MOST_WORDS}. Needs Encode Words.",
                ),
                io.Int.Input(
                    "row",
                    default=ALL_ROWS,
                    min=ALL_ROWS,
                    max=4095,
                    tooltip="Which row of the latent, counted from 0. -1: all rows.",
                ),
                io.Float.Input(
                    "opacity",
                    default=0.75,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How strongly the heat covers the preview. 0: the preview alone.",
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
                    tooltip="Write row, word and its greatest share of the text's attention below each picture.",
                ),
                io.String.Input(
                    "moment",
                    default="",
                    optional=True,
                    advanced=True,
                    placeholder="latest",
                    tooltip="Which of the moments of Attach Probe to show, for example 20% or step 5. "
                    "Empty: the latest one.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images", tooltip="One picture per row and word, all words of the first row first."
                ),
                io.String.Output(display_name="captions", tooltip="What each picture shows, one line each, in order."),
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
