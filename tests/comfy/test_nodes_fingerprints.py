"""Fingerprints of inputs that are not known or change by themselves differ in ComfyUI's cache, too."""

import pytest
from comfy_execution.caching import to_hashable
from diffusion_probe.nodes.evaluate import EvaluateProbe
from diffusion_probe.nodes.probes import LoadProbe
from diffusion_probe.nodes.record import RecordProbeData
from diffusion_probe.nodes.seeds import EarlySeedFilter
from diffusion_probe.nodes.train import TrainProbe

ALWAYS_NEW = {
    "a probe whose name comes from a link": lambda: LoadProbe.fingerprint_inputs(name=None),
    "a probe that is not there": lambda: LoadProbe.fingerprint_inputs(name="gone.safetensors"),
    "a training on a linked dataset": lambda: TrainProbe.fingerprint_inputs(dataset=None),
    "an evaluation on a linked dataset": lambda: EvaluateProbe.fingerprint_inputs(dataset=None),
    "a recording": lambda: RecordProbeData.fingerprint_inputs(),
    "a filter that waits for the user": lambda: EarlySeedFilter.fingerprint_inputs(hold_for_me=True),
}


@pytest.mark.parametrize("fingerprint", ALWAYS_NEW.values(), ids=ALWAYS_NEW)
def test_inputs_that_may_have_changed_never_hit_the_cache(fingerprint):
    before, now = (to_hashable(["class", [fingerprint()]]) for _ in range(2))
    assert {before: "the result of before"}.get(now) is None


def test_a_filter_that_does_not_wait_hits_the_cache():
    before, now = (to_hashable(["class", [EarlySeedFilter.fingerprint_inputs()]]) for _ in range(2))
    assert before == now
