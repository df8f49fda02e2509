"""Attention Preview on a small FLUX with random weights: what is drawn, and what is refused."""

import pytest
import torch
from diffusion_probe.dev.random_models import random_conditioning
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.attention_preview import MOST_WORDS, attention_preview
from diffusion_probe.engine.capture.prompt.encode import KEY
from diffusion_probe.engine.capture.read import captured
from diffusion_probe.nodes.words import AttentionPreview
from diffusion_probe.probe_models.focus import AttentionFocus
from diffusion_probe.probe_models.preview import PreviewReward

WORDS = (("a", (1,)), ("red", (2, 3)), ("圆", (4,)), ("red", (5,)))


def sampled(flux, ksampler, words=WORDS, probe=None, moments="step 1, step 2", **options):
    model = attach_probe(flux, probe or AttentionFocus(), moments)
    ((context, entry),) = random_conditioning(1)
    positive = [[context, entry if words is None else {**entry, KEY: words}]]
    return model, {"samples": ksampler(model, positive=positive, steps=3, **options)}


@pytest.fixture
def run(flux, ksampler):
    return sampled(flux, ksampler)


def shown(run, words="", row=-1, moment=""):
    model, latent = run
    return AttentionPreview.execute(latent, model, words, row, 0.75, 96, True, moment).result


def test_all_words_of_the_first_row_come_first(run):
    images, captions = shown(run)
    names = [line.rsplit(",", 1)[0] for line in captions.splitlines()]
    assert names == [f"row {row}: {word}" for row in (0, 1) for word in ("a", "red", "圆", "red (2)")]
    assert images.shape[0] == 8 and images.shape[2:] == (96, 3) and 0 <= images.min() and images.max() <= 1


def test_a_picture_shows_its_own_row_and_word(run):
    every, _ = shown(run)
    images, captions = shown(run, "RED (2), a", row=1)
    assert torch.allclose(images, every[[7, 4]], atol=1e-4) and not torch.allclose(images[0], images[1], atol=1e-2)
    assert [line.split(",")[0] for line in captions.splitlines()] == ["row 1: red (2)", "row 1: a"]


def test_the_hottest_place_is_where_the_word_has_most_of_the_texts_attention(run):
    model, latent = run
    features = captured(model, latent)[0]
    attention = features.attention.float()
    share = (attention[:, [2, 3]].sum(1) / attention.sum(1)).mean(0)
    images, texts = attention_preview(model, latent, "red", row=0, opacity=1.0, size=96, captions=False)
    brightness = images[0].mean(-1)
    place = divmod(int(share.argmax()), share.shape[1])
    hottest = divmod(int(brightness.argmax()), 96)
    cell = [side / cells for side, cells in zip(brightness.shape, share.shape, strict=True)]
    assert [int(at // size) for at, size in zip(hottest, cell, strict=True)] == list(place)
    assert texts == [f"row 0: red, {100 * float(share.max()):.3g} %"]


def test_the_moment_can_be_chosen(run):
    first, second, latest = (shown(run, "red", 0, moment)[0] for moment in ("step 1", "step 2", ""))
    assert torch.equal(second, latest) and not torch.equal(first, latest)


@pytest.mark.parametrize("words", [None, ()], ids=["stock encoding", "empty prompt"])
def test_without_words_there_is_one_map_of_all_text(flux, ksampler, words):
    model, latent = sampled(flux, ksampler, words=words)
    images, captions = shown((model, latent))
    assert len(images) == 2 and captions.startswith("row 0: all text, ")
    assert images.std() > 0.01  # the share of all text in itself would be flat
    with pytest.raises(ValueError, match="The sampled prompt was encoded without its words.*Encode it with"):
        shown((model, latent), "red")


def test_without_names_only_the_first_words_are_drawn(flux, ksampler):
    model, latent = sampled(flux, ksampler, words=tuple((f"w{n}", (n % 12,)) for n in range(30)), rows=1)
    assert len(shown((model, latent))[0]) == MOST_WORDS
    assert shown((model, latent), "w29")[1].startswith("row 0: w29, ")


def test_a_model_without_a_latent_preview_gets_a_plain_ground(run, monkeypatch):
    monkeypatch.setattr("diffusion_probe.engine.capture.attention_preview.preview_images", lambda *_: None)
    assert shown(run)[0].shape[0] == 8


def test_a_word_that_is_not_in_the_prompt_is_refused_with_those_that_are(run):
    with pytest.raises(ValueError, match=r'Attention Preview: "blue" is not in the prompt.*: a, red, 圆, red \(2\)\.'):
        shown(run, "red, blue")


@pytest.mark.parametrize(
    ("row", "says"),
    [(2, "There is no row 2. The latent has rows 0 to 1; -1"), (-2, '"row" is -2. It takes numbers from')],
)
def test_a_row_that_the_latent_lacks_is_refused(run, row, says):
    with pytest.raises(ValueError, match=f"Attention Preview: {says}"):
        shown(run, row=row)


def test_more_pictures_than_memory_holds_are_refused(run):
    model, latent = run
    many = {"samples": latent["samples"].repeat(5, 1, 1, 1)}
    with pytest.raises(ValueError, match="40 pictures of 2048 pixels.*up to 1831 pixels"):
        attention_preview(model, many, size=2048)


def test_a_latent_of_another_model_is_refused(flux, ksampler, run):
    with pytest.raises(ValueError, match=r"Attention Preview: Rows \[0, 1\] of this LATENT were not sampled"):
        shown((run[0], {"samples": ksampler(flux, seed=9, steps=3)}))


def test_a_probe_that_takes_no_attention_is_named_with_the_fix(flux, ksampler, reward_of):
    probe = PreviewReward(
        lambda latents: latents[:, :3].movedim(1, -1), reward_of(lambda images, prompts: [0.0] * len(images)), "a cat"
    )
    message = 'The attached probe \\("preview reward"\\) does not read attention.*Attach a probe that reads'
    with pytest.raises(ValueError, match=message):
        shown(sampled(flux, ksampler, probe=probe))
