"""A prompt gate on the real server: what is not taken is never run, by the server's own events."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from support.saved import template_prompt
from training.client.server import PromptError

FRESH = itertools.count(1)


class Nodes:
    """The nodes of the workflow by what they do."""

    def __init__(self, prompt):
        by_type = {node["class_type"]: number for number, node in prompt.items()}
        samplers = [number for number, node in prompt.items() if node["class_type"] == "KSamplerAdvanced"]
        self.first = next(number for number in samplers if prompt[number]["inputs"]["add_noise"] == "enable")
        self.second = next(number for number in samplers if number != self.first)
        self.rewrite = by_type["RegexReplace"]
        self.again = by_type["KSampler"]
        self.encode = prompt[self.again]["inputs"]["positive"][0]
        self.seeds = by_type["DiffusionProbeSeedBatch"]
        self.attach = by_type["DiffusionProbeAttachProbe"]
        self.score = by_type["DiffusionProbeScore"]
        self.gate = by_type["DiffusionProbePromptGate"]
        self.decode = by_type["VAEDecode"]
        self.save = by_type["DiffusionProbeSaveSeeds"]


@pytest.fixture
def prompt(client):
    """The workflow with values that no other test has, so that nothing of a branch is cached."""
    saved, fresh = template_prompt("prompt-gate-testbed", client.object_info()), next(FRESH)
    saved[Nodes(saved).seeds]["inputs"].update(first_seed=1000 + 2 * fresh, count=2)
    saved[Nodes(saved).rewrite]["inputs"]["count"] = fresh  # replacements at most; there is one
    return saved


@pytest.fixture
def nodes(prompt):
    return Nodes(prompt)


def started(done) -> set[str]:
    """Nodes that the server began to run or took from its cache."""
    return {data["node"] for data in done.data("executing")} | done.cached()


def pixels(client, images):
    return [np.asarray(Image.open(io.BytesIO(client.view(image))), dtype=int) for image in images]


def test_below_the_threshold_the_rewritten_prompt_is_sampled_and_the_first_ended(client, run, prompt, nodes):
    prompt[nodes.gate]["inputs"]["threshold"] = 1.1
    done = run(prompt)
    assert nodes.second not in started(done)
    assert done.data("progress", nodes.again)[-1]["max"] == 25
    order = [data["node"] for data in done.data("executing")]
    assert order.index(nodes.score) < order.index(nodes.gate) < order.index(nodes.rewrite) < order.index(nodes.again)
    assert "< 1.1" in done.text(nodes.gate) and "Took otherwise" in done.text(nodes.gate)
    first_seed = prompt[nodes.seeds]["inputs"]["first_seed"]
    images = done.images(nodes.save)
    assert [f"seed_{first_seed + row}_" in image["filename"] for row, image in enumerate(images)] == [True, True]

    direct = {number: prompt[number] for number in prompt if number not in (nodes.gate, nodes.second, nodes.rewrite)}
    direct[nodes.encode]["inputs"]["text"] = "a large red circle to the left of a blue square"
    direct[nodes.decode]["inputs"]["samples"] = [nodes.again, 0]
    for ours, theirs in zip(pixels(client, images), pixels(client, run(direct).images(nodes.save)), strict=True):
        assert np.array_equal(ours, theirs)


def test_from_the_threshold_on_the_first_run_is_finished_and_nothing_is_rewritten(run, prompt, nodes):
    prompt[nodes.gate]["inputs"]["threshold"] = 0.0
    done = run(prompt)
    assert not {nodes.rewrite, nodes.encode, nodes.again} & started(done)
    assert done.data("progress", nodes.second)[-1]["max"] == 20
    assert "≥ 0" in done.text(nodes.gate) and "Took passing" in done.text(nodes.gate)
    assert len(done.images(nodes.save)) == 2


def test_without_another_way_the_run_succeeds_and_nothing_behind_the_gate_is_run(run, prompt, nodes):
    prompt[nodes.gate]["inputs"]["threshold"] = 1.1
    del prompt[nodes.gate]["inputs"]["otherwise"]
    done = run(prompt)
    assert done.data("execution_success") and not done.data("execution_error")
    assert not {nodes.second, nodes.rewrite, nodes.again} & started(done)
    assert not done.data("executed", nodes.save) and "skipped" in done.text(nodes.gate)


@pytest.mark.long
def test_the_decision_and_the_score_go_on_even_when_the_branch_is_blocked(run, prompt, nodes):
    prompt[nodes.gate]["inputs"].update(threshold=1.1, rows="best row")
    del prompt[nodes.gate]["inputs"]["otherwise"]
    prompt["switch"] = {
        "class_type": "ComfySwitchNode",
        "inputs": {"switch": [nodes.gate, 1], "on_true": "finished", "on_false": "stopped"},
    }
    prompt["told"] = {"class_type": "PreviewAny", "inputs": {"source": ["switch", 0]}}
    prompt["score"] = {"class_type": "PreviewAny", "inputs": {"source": [nodes.gate, 2]}}
    done = run(prompt)
    (report,) = done.outputs[nodes.score]["diffusion_probe"]
    assert done.text("told") == "stopped"
    assert float(done.text("score")) == pytest.approx(max(row["score"] for row in report["rows"]))


@pytest.mark.long
def test_a_score_without_skill_passes_until_told_to_block(run, prompt, nodes):
    prompt["focus"] = {"class_type": "DiffusionProbeAttentionFocus", "inputs": {}}
    prompt[nodes.attach]["inputs"]["probe"] = ["focus", 0]
    prompt[nodes.gate]["inputs"]["threshold"] = 1.1
    done = run(prompt)
    assert nodes.again not in started(done) and "no measured skill" in done.text(nodes.gate)
    prompt[nodes.gate]["inputs"]["unskilled_scores"] = "use anyway"
    changed = run(prompt)
    assert changed.data("progress", nodes.again) and nodes.first in changed.cached()


@pytest.mark.long
def test_scores_of_a_filter_that_kept_nothing_skip_the_gate_and_both_branches(run, prompt, nodes):
    prompt["filter"] = {
        "class_type": "DiffusionProbeEarlySeedFilter",
        "inputs": {
            "latent": [nodes.first, 0], "scores": [nodes.score, 0],
            "top_k": 0, "threshold_on": "raw score", "threshold": 1.1, "unskilled_scores": "keep all",
        },
    }  # fmt: skip
    prompt[nodes.gate]["inputs"]["scores"] = ["filter", 2]
    done = run(prompt)
    assert done.data("execution_success") and not {nodes.second, nodes.rewrite, nodes.again} & started(done)
    assert not done.data("executed", nodes.save)


@pytest.mark.long
def test_a_percentile_without_calibration_is_an_error_and_the_next_run_works(client, run, prompt, nodes):
    prompt[nodes.gate]["inputs"]["threshold_on"] = "percentile of calibration"
    with pytest.raises(PromptError) as failure:
        client.run(prompt)
    for part in ("Prompt Gate: Preview reward has no calibration", 'Set threshold on to "raw score"'):
        assert part in str(failure.value)
    prompt[nodes.gate]["inputs"]["threshold_on"] = "raw score"
    assert len(run(prompt).images(nodes.save)) == 2


def test_a_file_name_outside_the_output_folder_is_refused_by_the_server(client, server, prompt, nodes):
    prompt[nodes.save]["inputs"]["filename_prefix"] = "../gate"
    with pytest.raises(PromptError, match="filename_prefix - .*outside ComfyUI's output folder"):
        client.run(prompt)
    assert not list(server.home.glob("gate*"))
