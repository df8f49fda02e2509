"""Words of a conditioning, by ComfyUI's own tokenizers, text encoders and nodes."""

import functools
import io
import json
import random

import comfy.sd
import comfy.supported_models_base
import pytest
import sentencepiece
import torch
from comfy.sd1_clip import SD1ClipModel, SD1Tokenizer, SDTokenizer
from comfy.sdxl_clip import SDXLClipModel, SDXLTokenizer
from comfy.text_encoders.flux import FluxClipModel, FluxTokenizer, T5XXLTokenizer
from comfy.text_encoders.lumina2 import LuminaModel, LuminaTokenizer
from comfy.text_encoders.pixart_t5 import PixArtT5XXL, PixArtTokenizer
from comfy.text_encoders.sd3_clip import SD3ClipModel, SD3Tokenizer
from diffusion_probe.engine.capture.prompt.alignment import BLANK, UNKNOWN, piece_words
from diffusion_probe.engine.capture.prompt.encode import KEY, encode_words, words_of
from diffusion_probe.engine.capture.prompt.sampled_text import KEY as TEXT_KEY
from diffusion_probe.engine.core.prompt_words import word_spans
from diffusion_probe.nodes.words import EncodeWords
from safetensors.torch import save_file

import nodes as comfy_nodes

WIDTHS = {"clip_l": 32, "clip_g": 64, "t5xxl": 48}
CLIP_CONFIG = {"num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
T5_CONFIG = {"num_layers": 1, "d_ff": 64, "d_kv": 16, "num_heads": 2}
KINDS = {
    "sdxl": (SDXLTokenizer, SDXLClipModel),
    "flux": (FluxTokenizer, FluxClipModel),
    "sd15": (SD1Tokenizer, SD1ClipModel),
    "sd3": (SD3Tokenizer, SD3ClipModel),
    "sd3 without T5": (SD3Tokenizer, functools.partial(SD3ClipModel, t5=False)),
    "chroma": (PixArtTokenizer, PixArtT5XXL),
    "lumina 2": (LuminaTokenizer, LuminaModel),
}
KNOWS_EMBEDDINGS = pytest.mark.parametrize("clip", [kind for kind in KINDS if kind != "lumina 2"], indirect=True)
PROMPTS = [
    "a small red circle to the left of a large blue square",
    "Red-haired girl's CAFÉ, 1girl BREAK (red:1.2) ((deep) blue:0.7) \\(green\\) [x]",
    "re(d:1.3)dish, a 🐱 and 一个红色的圆形 <lora:foo:1>",
    "word " * 60 + "incomprehensibilities " * 30,
    "",
]


GEMMA = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 1,
    "num_key_value_heads": 1, "vocab_size": 2000,
}  # fmt: skip


@functools.cache
def small_sentencepiece():
    """A vocabulary as Gemma's, whose own lies in its model file: SentencePiece, with bytes for what it doesn't know."""
    words = "a small red blue circle square of the left to and large large cat dog incomprehensible word".split()
    model, draw = io.BytesIO(), random.Random(0)
    sentences = (" ".join(draw.choices(words, k=8)) for _ in range(500))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences, model_writer=model, vocab_size=330, hard_vocab_limit=False, byte_fallback=True,
        pad_id=0, eos_id=1, bos_id=2, unk_id=3, minloglevel=2,
    )  # fmt: skip
    return model.getvalue()


def small_clip(tokenizer, model, t5_width=WIDTHS["t5xxl"], **options):
    """A real ``comfy.sd.CLIP`` of ComfyUI's own classes: few layers, small widths, random weights."""
    shapes = {f"{name}_model_config": {**CLIP_CONFIG, "hidden_size": width} for name, width in WIDTHS.items()}
    shapes["t5xxl_model_config"] = {**T5_CONFIG, "d_model": t5_width}
    shapes["gemma2_2b_model_config"] = GEMMA
    data = {"spiece_model": small_sentencepiece()} if tokenizer is LuminaTokenizer else {}
    target = comfy.supported_models_base.ClipTarget(tokenizer, model)
    clip = comfy.sd.CLIP(target, model_options=shapes, tokenizer_data=data, **options)
    generator = torch.Generator().manual_seed(0)
    for parameter in clip.cond_stage_model.parameters():
        shape = parameter.shape if parameter.numel() < 2**24 else (parameter.shape[0], 1)  # a table as wide as T5's own
        parameter.data = (0.3 * torch.randn(shape, generator=generator)).expand(parameter.shape)
    return clip


@pytest.fixture(scope="module", params=KINDS)
def clip(request, tmp_path_factory):
    """A small text encoder that knows two embeddings."""
    folder = tmp_path_factory.mktemp("embeddings")
    width = {"t5_width": 4096} if request.param == "sd3" else {}  # ComfyUI puts it behind CLIP's, filled up to 4096
    widths = {**WIDTHS, "t5xxl": width.get("t5_width", WIDTHS["t5xxl"])}
    save_file({name: torch.randn(3, width) for name, width in widths.items()}, folder / "three.safetensors")
    save_file({"clip_l": torch.randn(2, 32), "other": torch.randn(2, 7)}, folder / "narrow.safetensors")
    return small_clip(*KINDS[request.param], embedding_directory=str(folder), **width)


@torch.inference_mode()
def stock(clip, text):
    return comfy_nodes.CLIPTextEncode().encode(clip, text)[0]


@torch.inference_mode()
def encoded(clip, text):
    """The conditioning, and for each word's name its positions."""
    conditioning, words = encode_words(clip, text)
    return conditioning, dict(words)


def same(first, second):
    """Whether two CONDITIONINGs are the same, bit for bit, but for the words and the text."""
    assert len(first) == len(second)
    for (context, entry), (other, expected) in zip(first, second, strict=True):
        entry, expected = ({k: v for k, v in e.items() if k not in (KEY, TEXT_KEY)} for e in (entry, expected))
        assert torch.equal(context, other) and entry.keys() == expected.keys()
        for name, value in entry.items():
            assert torch.equal(value, expected[name]) if torch.is_tensor(value) else value == expected[name]
    return True


@pytest.mark.parametrize("text", [*PROMPTS, "a embedding:three, embedding:nosuch cat"])
def test_the_conditioning_is_that_of_clip_text_encode_bit_for_bit(clip, text):
    conditioning, _ = encoded(clip, text)
    assert same(conditioning, stock(clip, text)) and all(entry[TEXT_KEY] == text for _, entry in conditioning)


def changed_positions(first, second):
    return tuple((first[0][0] - second[0][0]).abs().amax((0, 2)).gt(1e-3).nonzero().flatten().tolist())


@pytest.mark.parametrize(
    "words",
    [
        "a small red circle and a red incomprehensible antidisestablishmentarianism".split(),
        ["girl's", "well-known", "CAFÉ", "1girl", "BREAK", "🐱", "deep"],
        [f"word{n}" for n in range(60)],
    ],
    ids=["plain", "marks", "chunks"],
)
def test_words_are_where_a_weight_changes_the_context(clip, words):
    check_weights(clip, words)


@KNOWS_EMBEDDINGS
def test_embeddings_are_where_a_weight_changes_the_context(clip):
    check_weights(clip, ["embedding:three", "cat", "embedding:three", "dog"])


def check_weights(clip, words):
    """Independent of any alignment: ComfyUI applies a weight to the positions of what it weighs."""
    some = range(len(words)) if len(words) < 20 else (0, 17, 30, 59)
    for number in some:
        parts = [f"({word}:1.0)" for word in words]
        plain = " ".join(parts)
        parts[number] = f"({words[number]}:3.0)"
        (before, found), (after, again) = encoded(clip, plain), encoded(clip, " ".join(parts))
        repeat = words[:number].count(words[number])
        name = f"{words[number]} ({repeat + 1})" if repeat else words[number]
        assert found == again and found[name] == changed_positions(before, after)


@KNOWS_EMBEDDINGS
def test_an_embedding_is_one_word_over_all_its_positions(clip):
    _, words = encoded(clip, "a embedding:three, red")
    model = clip.cond_stage_model
    parts = 2 if isinstance(model, SD3ClipModel) and model.t5xxl else 1  # SD3's prompt is there from CLIP and from T5
    assert len(words["embedding:three"]) == 3 * parts and list(words) == ["a", "embedding:three", "red"]
    assert words["red"][0] > words["embedding:three"][2]


@KNOWS_EMBEDDINGS
def test_an_embedding_that_is_not_found_is_no_word_and_moves_nothing(clip):
    _, words = encoded(clip, "a embedding:nosuch red")
    _, without = encoded(clip, "a red")
    assert words == without


@pytest.mark.parametrize("clip", ["sdxl"], indirect=True)
def test_an_embedding_for_one_of_two_encoders_gives_a_word_the_positions_of_both(clip):
    text = "a embedding:narrow red"
    conditioning, words = encoded(clip, text)
    assert same(conditioning, stock(clip, text))
    assert words == {"a": (1,), "embedding:narrow": (2, 3), "red": (2, 4)}


@pytest.mark.parametrize("text", PROMPTS)
def test_every_position_of_a_word_is_a_piece_of_it(clip, text):
    """The vocabulary's own decoder spells each word from the tokens at its positions."""
    places = []
    for stream in ("l", "t5xxl"):
        tokenizer = getattr(clip.tokenizer, stream, getattr(clip.tokenizer, f"clip_{stream}", None))
        tokens = clip.tokenize(text).get(stream)
        model = clip.cond_stage_model
        if tokens and getattr(model, stream, getattr(model, f"clip_{stream}", None)) and context_has(stream, model):
            places += [(tokenizer, token) for chunk in tokens for token, _ in chunk]
    for name, positions in encoded(clip, text)[1].items():
        for tokenizer in dict.fromkeys(tokenizer for tokenizer, _ in places):
            pieces = [places[position][1] for position in positions if places[position][0] is tokenizer]
            if tokenizer.inv_vocab[pieces[-1]] == "<unk>":
                continue
            word = name.rsplit(" (", 1)[0]
            assert tokenizer.tokenizer.decode(pieces).replace(" ", "").casefold() == word.casefold()


def context_has(stream, model):
    """FLUX takes of CLIP-L the pooled output only."""
    return stream == "t5xxl" or not isinstance(model, FluxClipModel)


ALPHABET = (
    "red Blue-ish it's don’t CAFÉ cafe\u0301 ﬁne ＦＵＬＬ İst straße 8k 3.5 圆形 ネコ 🐱 "
    "👩🏽‍🚀 हिन्दी ( ) , . !! < > “ ” … _ - 's"
).split() + [" ", " ", " ", "\n", "  "]


@pytest.mark.parametrize("kind", [SDTokenizer, T5XXLTokenizer])
def test_the_alignment_agrees_with_the_offsets_that_fast_tokenizers_give(kind):
    tokenizer, draw = kind(), random.Random(0)
    compared = 0
    for _ in range(300):
        text = "".join(draw.choices(ALPHABET, k=draw.randint(1, 12)))
        output = tokenizer.tokenizer(text, return_offsets_mapping=True)
        inner = slice(tokenizer.tokens_start, -1)
        pieces = [tokenizer.inv_vocab[token] for token in output["input_ids"][inner]]
        offsets = output["offset_mapping"][inner]
        found = piece_words(text, pieces, bytewise=kind is SDTokenizer)
        for (start, end), (word, numbers) in zip(word_spans(text), found, strict=True):
            over = {n for n, (first, last) in enumerate(offsets) if first < end and last > start}
            over, numbers = ({n for n in some if pieces[n] != BLANK} for some in (over, numbers))
            unknown = any(pieces[n] == UNKNOWN for n in numbers)  # one of them may stand for several words
            assert word == text[start:end] and (over <= numbers if unknown else over == numbers), text
            compared += not unknown
    assert compared > 400


def test_what_the_conditioning_carries_is_plain_data(clip):
    carried = encoded(clip, "a red circle")[0][0][1][KEY]
    assert [word for word, _ in json.loads(json.dumps(carried))] == ["a", "red", "circle"]


def test_nodes_that_copy_a_conditioning_keep_its_words(clip):
    first, second = (encoded(clip, text)[0] for text in ("a red circle", "blue"))
    mask = torch.ones(1, 8, 8)
    copies = [
        comfy_nodes.ConditioningCombine().combine(first, second),
        comfy_nodes.ConditioningAverage().addWeighted(first, second, 0.5),
        comfy_nodes.ConditioningConcat().concat(first, second),
        comfy_nodes.ConditioningSetArea().append(first, 64, 64, 0, 0, 1.0),
        comfy_nodes.ConditioningSetMask().append(first, mask, "default", 1.0),
        comfy_nodes.ConditioningSetTimestepRange().set_range(first, 0.0, 0.5),
    ]
    assert all(copied[0][0][1][KEY] == first[0][1][KEY] for copied in copies)


def test_words_of_several_entries_follow_each_other_and_unknown_entries_have_none():
    first, second = {KEY: (("red", (1,)), ("cat", (2, 3)))}, {KEY: (("Red", (0,)), ("dog", (9,)))}
    words = words_of([(first, 4), ({}, 10), (second, 5)])
    assert words == (("red", (1,)), ("cat", (2, 3)), ("Red (2)", (14,)))
    assert words_of([({}, 4)]) == ()


def test_a_text_encoder_that_is_not_in_the_table_gives_the_stock_conditioning(caplog):
    class Other(SDXLClipModel):
        def encode_token_weights(self, tokens):
            return super().encode_token_weights(tokens)

    clip = small_clip(SDXLTokenizer, Other)
    with torch.inference_mode():
        conditioning, words = encode_words(clip, "a red circle")
    assert words is None and KEY not in conditioning[0][1] and same(conditioning, stock(clip, "a red circle"))
    assert "All text positions count as one" in caplog.text


def test_a_tokenizer_that_puts_a_template_around_the_text_is_not_read():
    class Template(SDXLTokenizer):
        def tokenize_with_weights(self, text, return_word_ids=False, **options):
            return super().tokenize_with_weights(f"please paint {text}", return_word_ids, **options)

    with torch.inference_mode():
        assert encode_words(small_clip(Template, SDXLClipModel), "a red circle")[1] is None


def test_the_node_names_the_words_and_takes_an_empty_prompt(clip):
    with torch.inference_mode():
        assert (
            EncodeWords.execute(clip, "a red circle, a (red:1.2) square")[1] == "a, red, circle, a (2), red (2), square"
        )
        assert EncodeWords.execute(clip, "")[1] == ""


def test_a_missing_text_encoder_is_named():
    with pytest.raises(ValueError, match="Encode Words: The clip is missing"):
        EncodeWords.execute(None, "a cat")
