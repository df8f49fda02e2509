"""Labels of a run: its images are scored by their own prompt, by phrases of it, and by other prompts of the dataset."""

from diffusion_probe.training.dataset.labels import Labels, label_run, other_phrases, other_prompts

PROMPT = "a red fox on a hill"
POOL = [f"a {colour} cat under a {thing}" for colour in ("red", "blue", "green") for thing in ("tree", "car")]
OWN = {"truth": (0.5, 1.0), "structure": (1.0, 1.0)}


def scored(prompts):
    """A reward that can say nothing about hills alone."""
    return {prompt: (float(len(prompt)), 0.0) for prompt in prompts if prompt != "hill"}


def test_images_are_scored_by_phrases_other_prompts_and_their_phrases():
    labels = label_run(PROMPT, 6, POOL, OWN, scored, others=1)
    assert labels.own == OWN and PROMPT not in labels.others
    assert labels.phrases == {
        "red fox": (1, 2),
        "red fox on a hill": (1, 2, 3, 4, 5),
        "hill on a red fox": (5, 3, 4, 1, 2),
    }
    others = labels.others.keys() - labels.phrases.keys()
    whole = others & set(POOL)
    assert len(whole) == 2 and "a red cat under a" in " ".join(whole), "one at random, and one that shares words"
    assert others - whole and all(any(word in prompt for prompt in POOL) for other in others for word in other.split())
    assert labels.others["red fox"] == (7.0, 0.0)


def test_phrases_that_cannot_be_scored_are_left_out():
    assert "hill" not in label_run(PROMPT, 6, [], OWN, scored).phrases
    assert label_run(PROMPT, 6, POOL, OWN, lambda prompts: {}) == Labels(OWN)


def test_a_prompt_is_scored_once_however_often_it_is_drawn():
    asked = []
    label_run("red cat", 2, ["red cat", "a red cat", "red cat"], OWN, lambda prompts: asked.extend(prompts) or {})
    assert len(asked) == len(set(asked))


def test_a_prompt_whose_words_were_not_all_captured_has_no_phrases():
    assert label_run(PROMPT, 4, [], OWN, scored) == Labels(OWN)


def test_the_same_prompt_and_pool_give_the_same_other_prompts():
    assert other_prompts(PROMPT, POOL) == other_prompts(PROMPT, POOL)
    assert other_phrases(PROMPT, POOL) == other_phrases(PROMPT, POOL)
    assert other_prompts("a", []) == [] and other_prompts("a", ["a", "b"]) == ["b"]
