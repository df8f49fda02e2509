"""Input that can't work is an error with cause and fix, and the session goes on as if nothing had happened.

What a single node refuses is in ``test_nodes_run.py``, what a whole workflow does with it in
``tests/server/test_bad_input.py``; here is what needs another model or a cache.
"""

import re

import comfy.model_patcher
import comfy.supported_models
import pytest
import torch
from comfy_extras.nodes_easycache import EasyCacheNode, LazyCacheNode
from diffusion_probe.dev.random_models import random_conditioning
from diffusion_probe.engine.core.scores import Scores, SeedName
from diffusion_probe.nodes.attach import AttachProbe, ProbeScore
from diffusion_probe.nodes.prune import PruneInFlight
from diffusion_probe.nodes.search import SeedSearch
from diffusion_probe.nodes.seeds import EarlySeedFilter
from diffusion_probe.probe_models.focus import AttentionFocus


@pytest.fixture
def goes_on(flux, ksampler):
    """Called after an error: the model samples what it sampled before."""
    before = ksampler(flux, steps=4)
    return lambda: torch.equal(ksampler(flux, steps=4), before)


def small_wan():
    shape = {"dim": 128, "ffn_dim": 128, "num_heads": 1, "num_layers": 1, "text_dim": 32, "freq_dim": 32}
    config = comfy.supported_models.WAN21_T2V({"image_model": "wan2.1", "model_type": "t2v", **shape})
    config.set_inference_dtype(torch.float32, None)
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(config.get_model({}, ""), load_device=cpu, offload_device=cpu)


@pytest.mark.parametrize("node", ["Attach Probe", "Prune in Flight"])
def test_a_video_model_is_refused_with_the_families_that_are_supported(probe, node):
    says = f"{node}: This MODEL is a WAN21, which makes videos.*Supported: FLUX, .*SDXL, SD1.5. The step cache works"
    with pytest.raises(ValueError, match=says):
        if node == "Attach Probe":
            AttachProbe.execute(small_wan(), probe, "20%")
        else:
            PruneInFlight.execute(small_wan(), probe, "20%", 4, "off", 0.0, "keep all")


def test_a_probe_that_gives_nan_is_named_with_row_and_fix(flux, ksampler, probe, goes_on):
    probe.score = lambda rows: torch.tensor([0.5, float("nan")])
    model = AttachProbe.execute(flux, probe, "step 2")[0]
    latent = {"samples": ksampler(model, steps=4)}
    with pytest.raises(ValueError, match=r"Probe Score: Row 1 of 2 has no score \(nan\).*wider precision"):
        ProbeScore.execute(latent, model)
    assert goes_on()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "gave no numbers for 2 rows"),
        ([0.5], r"gave scores of shape \[1\] for 2 rows; it has to give one number per row"),
        (torch.zeros(2, 1), r"gave scores of shape \[2, 1\] for 2 rows"),
        (["high", "low"], "gave no numbers"),
    ],
)
def test_a_probe_that_gives_something_else_than_a_number_per_row_is_named(
    flux, ksampler, probe, goes_on, caplog, given, says
):
    probe.score = lambda rows: given
    model = AttachProbe.execute(flux, probe, "step 2")[0]
    latent = {"samples": ksampler(model, steps=4)}
    with pytest.raises(ValueError, match=f"Probe Score: The probe mean of x0 {says}"):
        ProbeScore.execute(latent, model)
    pruned = PruneInFlight.execute(flux, probe, "step 2", 1, "off", 0.0, "keep all")[0]
    assert torch.equal(ksampler(pruned, steps=4), latent["samples"]), "all rows went on"
    assert re.search(f"Prune in Flight dropped nothing: the probe mean of x0 {says}", caplog.text)
    search = (flux, random_conditioning(1), random_conditioning(2), {"samples": latent["samples"][:1]})
    if given is None:
        with pytest.raises(ValueError, match=r"Seed Search: No candidate was finished, .*gave no numbers for 1 rows"):
            SeedSearch.execute(*search, 1, 2, 1, 1.5, "one cut", 4, 1.0, "euler", "simple", 1.0, probe)
    assert goes_on()


def test_the_latent_of_another_probed_model_is_refused_with_the_wiring(flux, ksampler, probe, goes_on):
    one, other = (AttachProbe.execute(flux, probe, "step 2")[0] for _ in range(2))
    latent = {"samples": ksampler(one, steps=4)}
    assert len(ProbeScore.execute(latent, one)[0]) == 2
    with pytest.raises(ValueError, match=r"Probe Score: Rows \[0, 1\] .* were not sampled with the probed MODEL"):
        ProbeScore.execute(latent, other)
    assert goes_on()


@pytest.mark.parametrize("top_k", [0, 2, 99])
def test_no_limit_and_one_above_the_batch_keep_every_row(flux, ksampler, probe, top_k):
    model = AttachProbe.execute(flux, probe, "step 2")[0]
    latent = {"samples": ksampler(model, steps=4)}
    scores = ProbeScore.execute(latent, model)[0]
    filtered = EarlySeedFilter.execute(latent, scores, top_k, "off", 0.0, "keep all")
    assert filtered[0]["batch_index"] == [0, 1] and "Kept all 2" in filtered.ui["text"][0]


SKIPPED = 9
"""An evaluation of 20 that both caches skip with these settings."""


def cached(node, model):
    return node.execute(model, 1.5, 0.1, 0.95, False)[0]


@pytest.mark.parametrize("order", ["before", "after"])
def test_easycache_skipping_the_probed_evaluation_is_said_where_attention_is_needed(
    flux, ksampler, probe, goes_on, order
):
    def sample(moment):
        model = cached(EasyCacheNode, flux) if order == "before" else flux
        model = AttachProbe.execute(model, probe, moment)[0]
        model = model if order == "before" else cached(EasyCacheNode, model)
        return {"samples": ksampler(model, steps=20)}, model

    with pytest.raises(
        ValueError, match=r"Probe Score: Nothing was captured.*EasyCache\) may have skipped.*start later"
    ):
        ProbeScore.execute(*sample(f"step {SKIPPED}"))
    assert len(ProbeScore.execute(*sample("step 2"))[0]) == 2, "an evaluation that runs is captured"
    probe.needs = frozenset(
        {"denoised"}
    )  # a skipped evaluation has an x0 all the same: the one that the run goes on with
    assert ProbeScore.execute(*sample(f"step {SKIPPED}"))[0].step == SKIPPED
    assert goes_on()


def test_lazycache_before_the_probe_hides_the_evaluation_and_after_it_the_attention(flux, ksampler, probe, goes_on):
    model = AttachProbe.execute(cached(LazyCacheNode, flux), probe, "20%")[0]
    with pytest.raises(ValueError, match=r"no model evaluation just above 20%.*\(LazyCache\).*after the probe"):
        ProbeScore.execute({"samples": ksampler(model, steps=20)}, model)
    model = cached(LazyCacheNode, AttachProbe.execute(flux, probe, "20%")[0])
    with pytest.raises(ValueError, match=r"EasyCache\) may have skipped the evaluation.*start later"):
        ProbeScore.execute({"samples": ksampler(model, steps=20)}, model)
    probe.needs = frozenset({"denoised"})
    assert len(ProbeScore.execute({"samples": ksampler(model, steps=20)}, model)[0]) == 2
    assert goes_on()


def test_pruning_where_a_cache_skipped_the_attention_drops_nothing_and_says_the_fix(flux, ksampler, caplog):
    model = cached(EasyCacheNode, flux)
    pruned = PruneInFlight.execute(model, AttentionFocus(), f"step {SKIPPED}", 1, "off", 0.0, "use anyway")[0]
    latent = ksampler(pruned, steps=20)
    assert torch.equal(latent, ksampler(model, steps=20))
    assert "Prune in Flight dropped nothing: nothing was captured, because at that evaluation" in caplog.text
    with pytest.raises(ValueError, match=r"Probe Score: Nothing was captured.*EasyCache\) may have skipped.*later"):
        ProbeScore.execute({"samples": latent}, pruned)


@pytest.mark.parametrize(
    "more", [{"noise_mask": "mask"}, {"noise_mask": torch.zeros(())}, {"batch_index": "0"}, {"batch_index": [0, 0.5]}]
)
def test_a_latent_whose_mask_or_places_are_none_is_refused_in_one_sentence(more):
    latent = {"samples": torch.zeros(2, 16, 8, 8), **more}
    scores = Scores((0.25, 0.75), (SeedName(7), SeedName(8)), "a probe", "quality", "20%", 5, True)
    with pytest.raises(ValueError, match=r"Early Seed Filter: .*latent.* takes a LATENT of images"):
        EarlySeedFilter.execute(latent, scores, 1, "off", 0.0, "keep all")
