"""Scenes: prompts say all of a scene, and held-out prompts stay held out."""

import pytest
from diffusion_probe.testbed import scenes
from diffusion_probe.testbed.scenes import Scene, SceneObject


def test_a_prompt_reads_as_natural_text():
    circle, square = SceneObject("red", "circle", "small"), SceneObject("blue", "square", "large")
    scene = Scene((circle, square, SceneObject("green", "triangle")), ("to the left of", "above"))
    assert scene.prompt == "a small red circle to the left of a large blue square and above a green triangle"


def test_parsing_a_prompt_gives_back_its_scene():
    for scene in scenes.sample_scenes(500, seed=3, split="train"):
        assert scenes.parse_prompt(scene.prompt) == scene


def test_case_articles_and_spaces_do_not_matter_to_the_parser():
    scene = scenes.parse_prompt("  The RED circle\n above an  blue square")
    assert scene == Scene((SceneObject("red", "circle"), SceneObject("blue", "square")), ("above",))


def test_a_list_of_objects_has_no_relation():
    assert scenes.parse_prompt("a red circle and a blue square").relations == (None,)


def test_a_prompt_without_a_known_object_is_refused_with_what_is_accepted():
    with pytest.raises(ValueError, match="colours red"):
        scenes.parse_prompt("a photo of a cat")


def test_the_same_seed_gives_the_same_scenes_and_another_seed_others():
    assert scenes.sample_scenes(50, seed=1) == scenes.sample_scenes(50, seed=1)
    assert scenes.sample_scenes(50, seed=1) != scenes.sample_scenes(50, seed=2)


def test_no_prompt_is_in_both_splits():
    train = {scene.prompt for scene in scenes.sample_scenes(3000, seed=0, split="train")}
    held_out = {scene.prompt for scene in scenes.sample_scenes(400, seed=0, split="held_out")}
    assert not train & held_out
    assert not any(scenes.is_held_out(prompt) for prompt in train)


def test_every_word_of_every_prompt_is_in_the_vocabulary():
    words = set(scenes.vocabulary())
    for scene in scenes.sample_scenes(300, seed=5):
        assert set(scene.prompt.split()) <= words


def test_relations_never_contradict_each_other_and_colours_differ():
    for scene in scenes.sample_scenes(300, seed=6):
        steps = [scenes.RELATIONS[name] for name in scene.relations]
        assert not any((a, b) == (-c, -d) for a, b in steps for c, d in steps)
        assert len({o.colour for o in scene.objects}) == len(scene.objects)
