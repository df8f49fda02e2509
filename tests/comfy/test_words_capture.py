"""Words reach the probe through a real run."""

import pytest
import torch
from diffusion_probe.dev.random_models import random_conditioning
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.prompt.encode import KEY
from diffusion_probe.engine.capture.read import captured

import nodes as comfy_nodes


def conditioning(seed, tokens, *words):
    (entry,) = random_conditioning(seed, tokens=tokens)
    return [[entry[0], {**entry[1], KEY: words}]]


@pytest.fixture
def seen(flux, ksampler, probe):
    """What was captured of the first row of a run with the positive conditioning given."""

    def run(positive, **options):
        model = attach_probe(flux, probe, "step 1")
        return captured(model, {"samples": ksampler(model, positive=positive, rows=1, steps=3, **options)})[0]

    return run


RED = conditioning(1, 12, ("red", (1,)), ("circle", (2, 3)))


def test_a_row_knows_its_words_and_their_maps(seen):
    row = seen(RED)
    assert row.words == (("red", (1,)), ("circle", (2, 3)))
    circle = row.attention[:, 2].float() + row.attention[:, 3].float()
    assert torch.equal(row.word_maps()[:, 1], circle)


def test_words_change_neither_the_latents_nor_the_maps(flux, ksampler, seen):
    plain = random_conditioning(1)
    assert torch.equal(*(ksampler(flux, positive=positive, rows=1, steps=3) for positive in (plain, RED)))
    assert torch.equal(seen(plain).attention, seen(RED).attention) and seen(plain).words == ()


def test_combined_prompts_have_their_words_one_after_the_other(seen):
    row = seen(RED + random_conditioning(4, tokens=5) + conditioning(3, 7, ("Red", (1,)), ("cat", (4,))))
    assert dict(row.words) == {"red": (1,), "circle": (2, 3), "Red (2)": (18,), "cat": (21,)}
    alone = seen(RED).attention.float()
    assert torch.allclose(row.word_maps(row.words[:1])[:, 0], alone[:, 1], atol=1e-3)


def test_positions_stay_right_when_comfyui_repeats_a_shorter_prompt(seen):
    row, same = (seen(RED, negative=random_conditioning(2, tokens=tokens)) for tokens in (36, 12))
    assert row.words == same.words and (row.word_maps() - same.word_maps()).abs().max() < 1e-3


def test_concatenated_text_belongs_to_no_word_and_averaged_text_keeps_the_first(seen):
    tail = random_conditioning(3, tokens=5)
    (concatenated,) = comfy_nodes.ConditioningConcat().concat(RED, tail)
    row = seen(concatenated)
    assert row.attention.shape[1] == 17 and row.words == seen(RED).words
    (averaged,) = comfy_nodes.ConditioningAverage().addWeighted(RED, tail, 0.5)
    assert seen(averaged).words == row.words


def test_an_entry_that_is_not_active_at_the_moment_takes_no_words(seen):
    (late,) = comfy_nodes.ConditioningSetTimestepRange().set_range(conditioning(3, 7, ("cat", (4,))), 0.9, 1.0)
    assert [word.name for word in seen(RED + late).words] == ["red", "circle"]
