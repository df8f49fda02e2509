"""An interrupt or wrong wiring is an error with cause and fix, and the next prompt runs as if nothing had happened."""

import io
import json
import urllib.request

import numpy as np
import pytest
from PIL import Image

from support.saved import template_prompt
from training.client.server import PromptError


@pytest.fixture
def prompt(client):
    prompt = template_prompt("seed-selection-testbed", client.object_info())
    node(prompt, "DiffusionProbeSeedBatch")["count"] = 4
    return prompt


def node(prompt, kind):
    """The inputs of the one (first) node of a type."""
    return next(entry["inputs"] for entry in prompt.values() if entry["class_type"] == kind)


def number(prompt, kind):
    return next(name for name, entry in prompt.items() if entry["class_type"] == kind)


def pixels(client, outputs, prompt):
    images = outputs[number(prompt, "DiffusionProbeSaveSeeds")]["images"]
    return np.stack([np.asarray(Image.open(io.BytesIO(client.view(image)))) for image in images])


def forget_everything(server):
    """Unload models and drop the server's cache of node outputs."""
    body = json.dumps({"unload_models": True, "free_memory": True}).encode()
    request = urllib.request.Request(f"{server.url}/free", body, {"Content-Type": "application/json"})
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60).close()


def run_afresh(server, client, prompt):
    """What a run without anything cached gives; once more if the server took the prompt before it had forgotten."""
    for _ in range(2):
        forget_everything(server)
        events = []
        outputs = client.run(prompt, events.append)
        if not any(event["data"]["nodes"] for event in events if event["type"] == "execution_cached"):
            return outputs
    raise AssertionError("the server still had outputs of nodes")


def test_an_interrupt_in_mid_run_leaves_a_session_that_runs_as_a_fresh_one(server, client, prompt):
    node(prompt, "DiffusionProbeSeedBatch")["first_seed"] = 4711
    first = next(name for name, entry in prompt.items() if entry["inputs"].get("add_noise") == "enable")
    steps = []

    def interrupt_early(event):
        if event["type"] == "progress" and event["data"]["node"] == first:
            steps.append(event["data"]["value"])
            if len(steps) == 2:
                client.interrupt(event["data"]["prompt_id"])

    prompt[first]["inputs"].update(steps=2000, end_at_step=1900)  # long enough for the interrupt to arrive in mid-run
    node(prompt, "DiffusionProbeAttachProbe")["moments"] = "step 2"
    with pytest.raises(PromptError, match="Interrupted in KSamplerAdvanced") as caught:
        client.run(prompt, interrupt_early)
    assert caught.value.interrupted and 0 < max(steps) < 1900
    prompt[first]["inputs"].update(steps=25, end_at_step=5)
    after = client.run(prompt)
    fresh = run_afresh(server, client, prompt)
    assert np.array_equal(pixels(client, after, prompt), pixels(client, fresh, prompt))
    score = number(prompt, "DiffusionProbeScore")
    assert after[score]["diffusion_probe"] == fresh[score]["diffusion_probe"]


@pytest.mark.parametrize("case", ["two probes", "another batch", "another model"])
def test_wrong_wiring_fails_at_its_node_and_the_right_one_runs_afterwards(client, prompt, case):
    right = json.loads(json.dumps(prompt))
    attach, score = number(prompt, "DiffusionProbeAttachProbe"), number(prompt, "DiffusionProbeScore")
    if case == "two probes":
        prompt["second"] = json.loads(json.dumps(prompt[attach]))
        prompt["second"]["inputs"]["model"] = [attach, 0]
        prompt[score]["inputs"]["model"] = ["second", 0]
        says = "DiffusionProbeAttachProbe (node second) failed: ValueError: Attach Probe: A probe"
    elif case == "another batch":
        prompt["empty"] = {
            "class_type": "EmptySD3LatentImage",
            "inputs": {"width": 128, "height": 128, "batch_size": 3},
        }
        node(prompt, "DiffusionProbeEarlySeedFilter")["latent"] = ["empty", 0]
        says = "Early Seed Filter: There are 4 scores but the latent has 3 rows"
    else:
        prompt["second"] = json.loads(json.dumps(prompt[attach]))
        prompt["second"]["inputs"]["moments"] = "step 1"
        prompt[score]["inputs"]["model"] = ["second", 0]
        says = "Probe Score: Rows [0, 1, 2, 3] of this LATENT were not sampled with the probed MODEL"
    with pytest.raises(PromptError) as failure:
        client.run(prompt)
    assert says in str(failure.value)
    assert len(pixels(client, client.run(right), right)) == 4
