"""The renderer: true to the scene, deterministic, antialiased."""

import numpy as np
import pytest
from diffusion_probe.testbed import render, scenes


@pytest.fixture(scope="module")
def some_scenes():
    return scenes.sample_scenes(60, seed=11)


def test_an_image_is_128_pixels_square_within_range(some_scenes):
    image = render.render(some_scenes[0], 0)
    assert image.shape == (128, 128, 3) and image.dtype == np.float32
    assert image.min() >= 0 and image.max() <= 1


def test_the_same_seed_draws_the_same_image_and_another_seed_another(some_scenes):
    assert np.array_equal(render.render(some_scenes[0], 4), render.render(some_scenes[0], 4))
    assert not np.array_equal(render.render(some_scenes[0], 4), render.render(some_scenes[0], 5))


def test_the_placement_fulfils_every_relation(some_scenes):
    for number, scene in enumerate(some_scenes):
        objects = render.arrange(scene, number).objects
        for relation, other in zip(scene.relations, objects[1:]):
            step_x, step_y = scenes.RELATIONS[relation]
            assert (objects[0].x - other.x) * step_x + (objects[0].y - other.y) * step_y > 40


def test_every_object_stays_inside_the_canvas(some_scenes):
    for number, scene in enumerate(some_scenes):
        for placed in render.arrange(scene, number).objects:
            assert placed.extent < min(placed.x, placed.y, 128 - placed.x, 128 - placed.y)


def test_edges_are_antialiased():
    scene = scenes.parse_prompt("a large red circle")
    image = render.render(scene, 0)
    background, inside = image[0, 0, 1], image[..., 1].min()
    between = (image[..., 1] > inside + 0.05) & (image[..., 1] < background - 0.05)
    assert 60 < between.sum() < 400


def test_sizes_are_told_apart():
    small = render.render(scenes.parse_prompt("a small red square"), 0)
    large = render.render(scenes.parse_prompt("a large red square"), 0)
    assert (large[..., 1] < 0.5).sum() > 2 * (small[..., 1] < 0.5).sum()
