"""The ground-truth scorer: true scenes score high, each planted fault costs, and nothing crashes it."""

import numpy as np
import pytest
import torch
from diffusion_probe.testbed import render, scenes, scorer

TRIPLES = scenes.sample_scenes(20, seed=21, object_count=3)


def _score(pictures, of=TRIPLES):
    images = torch.from_numpy(np.stack([render.draw(picture) for picture in pictures]))
    return scorer.score(images, [scene.prompt for scene in of])


def _true_pictures():
    return [render.arrange(scene, number) for number, scene in enumerate(TRIPLES)]


def test_true_scenes_score_at_least_095_on_average_and_none_fails():
    some = scenes.sample_scenes(120, seed=22)
    scores = _score([render.arrange(scene, number) for number, scene in enumerate(some)], some)
    assert scores.mean() >= 0.97
    assert (scores >= 0.95).float().mean() >= 0.97
    assert scores.min() > 0.85


@pytest.mark.parametrize("fault", render.FAULTS)
def test_one_planted_fault_lowers_the_score_clearly(fault):
    faulty = _score([render.plant_fault(p, fault, n % 3, n) for n, p in enumerate(_true_pictures())])
    assert (_score(_true_pictures()) - faulty).min() > 0.1


@pytest.mark.parametrize(
    "first, second", [(a, b) for a in render.FAULTS for b in ("omit", "colour", "shape") if a != b]
)
def test_a_second_fault_lowers_it_further(first, second):
    one = [render.plant_fault(p, first, 1, n) for n, p in enumerate(_true_pictures())]
    two = [render.plant_fault(p, second, 0, n) for n, p in enumerate(one)]
    assert _score(two).mean() < _score(one).mean() - 0.05


@pytest.mark.parametrize(
    "fault, part",
    [("omit", "presence"), ("colour", "colour"), ("shape", "shape"), ("extra", "stray"), ("swap", "relation")],
)
def test_each_fault_shows_in_its_part(fault, part):
    for number, (scene, picture) in enumerate(zip(TRIPLES[:10], _true_pictures())):
        image = torch.from_numpy(render.draw(render.plant_fault(picture, fault, 1, number)))[None]
        (parts,) = scorer.criteria_of(image, [scene.prompt])
        assert getattr(parts, part) < 0.9


def test_an_extra_object_is_counted():
    picture = render.plant_fault(_true_pictures()[0], "extra", 0, 0)
    (parts,) = scorer.criteria_of(torch.from_numpy(render.draw(picture))[None], [TRIPLES[0].prompt])
    assert parts.count < 1 and parts.presence == 1


def test_swapping_two_colours_is_a_binding_fault_not_an_omission():
    prompt = "a large red circle to the left of a large blue square"
    swapped = render.render(scenes.parse_prompt("a large blue circle to the left of a large red square"), 0)
    (parts,) = scorer.criteria_of(torch.from_numpy(swapped)[None], [prompt])
    assert parts.presence == 1 and parts.total < 0.8


@pytest.mark.parametrize("image", ["noise", "blank", "nan", "tiny", "half"])
def test_odd_previews_get_a_score_and_no_error(image):
    images = {
        "noise": torch.rand(1, 128, 128, 3),
        "blank": torch.full((1, 128, 128, 3), 0.9),
        "nan": torch.full((1, 128, 128, 3), float("nan")),
        "tiny": torch.rand(1, 16, 16, 3),
        "half": torch.rand(1, 128, 128, 3).half(),
    }
    assert 0 <= scorer.score(images[image], [TRIPLES[0].prompt]).item() <= 0.3


def test_a_blurred_true_scene_scores_between_a_blank_and_a_sharp_one():
    from scipy.ndimage import gaussian_filter

    sharp = [render.draw(picture) for picture in _true_pictures()]
    blurred = torch.from_numpy(np.stack([gaussian_filter(image, (4, 4, 0)) for image in sharp]))
    scores = scorer.score(blurred, [scene.prompt for scene in TRIPLES])
    assert 0.1 < scores.mean() < _score(_true_pictures()).mean()


def test_one_prompt_serves_all_images_and_another_number_is_refused():
    images = torch.rand(3, 32, 32, 3)
    assert scorer.score(images, [TRIPLES[0].prompt]).shape == (3,)
    with pytest.raises(ValueError, match="3 images but 2 prompts"):
        scorer.score(images, [TRIPLES[0].prompt] * 2)


def _parts(**changes):
    perfect = dict.fromkeys(scorer.LOSS, 1.0)
    return scorer.Criteria(**{**perfect, **changes})


def test_the_total_is_the_product_of_its_parts_losses():
    assert _parts().total == 1
    assert _parts(relation=0.5).total == pytest.approx(1 - scorer.LOSS["relation"] * 0.5)
    assert _parts(relation=0.5, shape=0.0).total == pytest.approx(
        (1 - scorer.LOSS["relation"] * 0.5) * (1 - scorer.LOSS["shape"])
    )


def test_the_structural_share_is_one_for_omissions_and_zero_for_ragged_outlines():
    assert scorer.structural_share([[_parts(), _parts(presence=0.5)]]) == pytest.approx(1)
    assert scorer.structural_share([[_parts(), _parts(outline=0.2)]]) == pytest.approx(0)
    mixed = scorer.structural_share([[_parts(), _parts(colour=0.5), _parts(outline=0.0), _parts(shape=0.5)]])
    assert 0.2 < mixed < 0.8
