"""Words of prompts that ComfyUI puts into a chat template, or gives to two text models, by its own tokenizers."""

import comfy.sd
import comfy.supported_models_base
import comfy.text_encoders.qwen_vl
import pytest
import torch
from comfy.text_encoders.flux import KleinTokenizer, klein_te
from comfy.text_encoders.hidream import HiDreamTEModel, HiDreamTokenizer
from comfy.text_encoders.qwen_image import QwenImageTEModel, QwenImageTokenizer
from comfy.text_encoders.z_image import ZImageTEModel, ZImageTokenizer
from diffusion_probe.engine.capture.prompt.encode import KEY, encode_words
from diffusion_probe.engine.capture.prompt.sampled_text import KEY as TEXT_KEY

import nodes as comfy_nodes

LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "num_hidden_layers": 3,
}
CLIP = {"num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64, "hidden_size": 32}
CONFIGS = {
    "qwen25_7b": LLAMA,
    "qwen3_4b": {**LLAMA, "num_hidden_layers": 28},  # FLUX.2 Klein takes layers 9, 18 and 27
    "llama": LLAMA,
    "clip_l": CLIP,
    "clip_g": CLIP,
    "t5xxl": {"num_layers": 1, "d_ff": 64, "d_kv": 16, "num_heads": 2, "d_model": 48},
}
KINDS = {
    "Qwen-Image": (QwenImageTokenizer, QwenImageTEModel),
    "Z-Image": (ZImageTokenizer, ZImageTEModel),
    "FLUX.2 Klein": (KleinTokenizer, klein_te()),
    "HiDream": (HiDreamTokenizer, HiDreamTEModel),
}
PROMPT = "a small red circle, the girl's CAFÉ (red:1.2) and 一个圆形 🐱 \\(assistant\\) user"
WORDS = "a small red circle the girl's CAFÉ red 1 2 and 一 个 圆 形 🐱 assistant user".split()


@pytest.fixture(scope="module", params=KINDS)
def clip(request):
    """A real ``comfy.sd.CLIP`` of ComfyUI's own classes: small, with random weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comfy.text_encoders.qwen_vl, "Qwen2VLVisionTransformer", lambda **_: torch.nn.Identity())
        target = comfy.supported_models_base.ClipTarget(*KINDS[request.param])
        shapes = {f"{name}_model_config": config for name, config in CONFIGS.items()}
        clip = comfy.sd.CLIP(target, model_options=shapes)
    generator = torch.Generator().manual_seed(0)
    for parameter in clip.cond_stage_model.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return clip


@torch.inference_mode()
def encoded(clip, text):
    """What the model gets for each position, ``[positions, channels]`` of each part; and each word's positions."""
    conditioning, words = encode_words(clip, text)
    (context, entry), (stock, expected) = conditioning[0], comfy_nodes.CLIPTextEncode().encode(clip, text)[0][0]
    assert torch.equal(context, stock) and entry.keys() - {KEY, TEXT_KEY} == expected.keys()
    llama = entry.get("conditioning_llama3")
    return [context[0], *([] if llama is None else [llama[0, -1]])], dict(words)


def tokens_of(clip, text, parts):
    """The tokenizer of the first part, and its token at each position; what is missing is missing at the front.

    HiDream's second part is left to the test of changed words: transformers 5 drops from Llama's tokens
    whatever is not ASCII.
    """
    by_stream = clip.tokenize(text)
    stream = "t5xxl" if "t5xxl" in by_stream else next(iter(by_stream))
    tokens = [token for chunk in by_stream[stream] for token, _ in chunk]
    return getattr(clip.tokenizer, stream), tokens[len(tokens) - len(parts[0]) :]


def test_the_words_are_the_prompts_and_every_position_of_a_word_is_a_piece_of_it(clip):
    parts, words = encoded(clip, PROMPT)
    names = [name.rsplit(" (", 1)[0] for name in words]
    weighs = len(parts) == 2  # HiDream's prompts are weighed as SDXL's, so a weight is none of their words
    assert names == [word for word in WORDS if not (weighs and word in "12")]
    tokenizer, tokens = tokens_of(clip, PROMPT, parts)
    for name, positions in words.items():
        pieces = [tokens[position] for position in positions if position < len(tokens)]
        if tokenizer.inv_vocab[pieces[-1]] == "<unk>":
            continue
        word, spelled = name.rsplit(" (", 1)[0], tokenizer.tokenizer.decode(pieces).strip(" (),")
        assert spelled.casefold() == word.casefold() or word in "一个圆形" and word in spelled, "these share tokens"


def test_a_word_is_where_another_one_in_its_place_begins_to_change_the_context(clip):
    """A language model looks back only; independent of what the tokens are and of any template."""
    parts, words = encoded(clip, "a small red circle")
    others, again = encoded(clip, "a small blue circle")
    changed = (parts[-1] - others[-1]).abs().amax(1).gt(0).nonzero().flatten() + sum(map(len, parts[:-1]))
    assert words["red"] == again["blue"] and words["red"][-1] == int(changed[0])
    assert min(at for at in words["circle"] if at > words["red"][-1]) == int(changed[1])


def test_an_empty_prompt_has_no_words_and_one_with_a_template_of_its_own_has_all(clip):
    assert encoded(clip, "")[1] == {}
    own = "<|im_start|>user\na red circle<|im_end|>\n"
    if isinstance(clip.tokenizer, QwenImageTokenizer):  # the only one that lets a prompt bring its own
        assert list(encoded(clip, own)[1])[:3] == ["a", "red", "circle"]
