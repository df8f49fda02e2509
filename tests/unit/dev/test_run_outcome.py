"""The demo's account of a run: who was kept, which picture is whose, and what it cost."""

import pytest

from dev.run_outcome import ancestors, descendants, evaluations, prompt_text, read_outcome

PROMPT = {
    "1": {"class_type": "KSamplerAdvanced", "inputs": {"steps": 25}},
    "2": {"class_type": "DiffusionProbeScore", "inputs": {"latent": ["1", 0]}},
    "3": {"class_type": "DiffusionProbeEarlySeedFilter", "inputs": {"latent": ["1", 0], "scores": ["2", 0]}},
    "4": {"class_type": "KSamplerAdvanced", "inputs": {"latent_image": ["3", 0]}},
    "5": {"class_type": "SaveImage", "inputs": {"images": ["4", 0]}},
}
ROWS = [
    {"row": 0, "seed": "7", "score": 0.2, "rank": 2},
    {"row": 1, "seed": "8", "score": 0.9, "rank": 1},
    {"row": 2, "seed": "9", "score": 0.1, "rank": 3},
]
PREVIEWS = [{"filename": f"p{n}.png", "subfolder": "", "type": "temp"} for n in range(3)]
FINAL = {"filename": "final.png", "subfolder": "", "type": "output"}


def outputs(kept):
    report = {"rows": ROWS, "probe": "focus", "moment": "20%", "step": 5, "model_rows": 30}
    selection = {"kept": [ROWS[n] for n in kept], "dropped": [], "reason": "top 1"}
    shown = {"2": {"diffusion_probe": [report], "images": PREVIEWS}, "3": {"diffusion_probe": [selection]}}
    return shown | ({"5": {"images": [FINAL]}} if kept else {})


def test_candidates_are_read_in_row_order_with_their_fate():
    outcome = read_outcome(PROMPT, outputs([1]), {"1": 5, "4": 20})
    assert [(c.seed, c.rank, c.kept) for c in outcome.candidates] == [("7", 2, False), ("8", 1, True), ("9", 3, False)]
    assert outcome.previews == PREVIEWS and outcome.finished == [FINAL]


def test_the_cost_counts_guidance_twice_and_all_rows_up_to_the_cut():
    outcome = read_outcome(PROMPT, outputs([1]), {"1": 5, "4": 20})
    assert (outcome.spent, outcome.full) == (3 * 5 * 2 + 1 * 20 * 2, 3 * 25 * 2)
    assert "70 spent" in outcome.cost_line() and "cost 150 (53% saved)" in outcome.cost_line()


def test_a_run_in_which_nothing_went_on_says_so():
    outcome = read_outcome(PROMPT, outputs([]), {"1": 5})
    assert outcome.finished == [] and outcome.cost_line() == "Model evaluations: 30 spent; no candidate went on."


def test_keeping_all_costs_what_full_sampling_costs():
    assert evaluations(model_rows=80, candidates=8, kept=8, before=5, after=20) == (400, 400)


def test_the_graph_is_followed_both_ways():
    assert set(ancestors(PROMPT, "3")) == {"1", "2"}
    assert descendants(PROMPT, "3") == ["4", "5"]


def test_a_workflow_without_the_nodes_is_named_as_such():
    with pytest.raises(ValueError, match="0 DiffusionProbeScore nodes"):
        read_outcome({"1": PROMPT["1"]}, {}, {})


def test_the_prompts_text_is_found_behind_the_positive_conditioning():
    encoded = {
        "6": {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "a red fox in the rain"}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": ["6", 0], "clip": ["9", 0]}},
        "8": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry, watermark, and much more than the prompt"}},
        "9": {"class_type": "CLIPLoader", "inputs": {"clip_name": "clip_l.safetensors"}},
    }
    sampler = {"class_type": "KSamplerAdvanced", "inputs": {"positive": ["7", 0], "negative": ["8", 0]}}
    assert prompt_text({**PROMPT, **encoded, "1": sampler}, "2") == "a red fox in the rain"
    assert prompt_text(PROMPT, "2") == ""
