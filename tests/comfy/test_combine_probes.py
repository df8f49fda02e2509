"""Combine Probes: both scores weighed by what is known of them; what doesn't belong together is refused."""

import pytest
import torch
from diffusion_probe.engine.core.reward import Reward
from diffusion_probe.engine.core.skill import Skill, combine
from diffusion_probe.nodes.attach import AttachProbe, ProbeScore
from diffusion_probe.nodes.probes import CombineProbes
from diffusion_probe.probe_models.focus import AttentionFocus
from diffusion_probe.probe_models.preview import PreviewReward
from diffusion_probe.probe_models.probe_file import load_probe

SKILL = {"progress": (0.25, 0.5), "correlation": (0.3, 0.6), "spread": (0.1, 0.2), "source": ""}
PREVIEW_SKILL = {"progress": (0.25, 0.5), "correlation": (0.2, 0.7), "spread": (1.0, 3.0), "source": ""}
LABELS = {"label": "brightness", "heads": ("brightness",), "moments": ("25%", "50%")}


class Brightness(Reward):
    """A reward whose previews were measured."""

    label, preview_skill = "brightness", Skill(**PREVIEW_SKILL)

    def score(self, images, prompts):
        return images.mean((1, 2, 3))


def decode(latents):
    return latents[:, :3].movedim(1, -1).sigmoid()


@pytest.fixture
def trained(tmp_path, write_probe):
    def written(**changes):
        card = {**LABELS, "search_skill": SKILL, "held_out": {"label_spread": 0.5}, **changes}
        write_probe(tmp_path / "trained.safetensors", blocks=("double 1", "single 0"), **card)
        return load_probe(tmp_path / "trained.safetensors")

    return written


def scores_of(probe, flux, ksampler):
    model = AttachProbe.execute(flux, probe, "step 2")[0]
    return ProbeScore.execute({"samples": ksampler(model, steps=4, rows=3)}, model)[0].values


def test_the_mean_has_the_weights_of_the_two_skills_at_that_noise_level(trained, flux, ksampler):
    preview = PreviewReward(decode, Brightness(), "a prompt")
    probe = CombineProbes.execute(trained(), preview)[0]
    (first, second), skill = combine(Skill(**SKILL), Skill(**PREVIEW_SKILL))[0][0], probe.search_skill
    own, judged, both = (torch.tensor(scores_of(given, flux, ksampler)) for given in (trained(), preview, probe))
    torch.testing.assert_close(both, first * own + second * judged)
    assert skill.correlation[1] > 0.7 and probe.label == "brightness"


def test_a_judge_whose_previews_nobody_measured_counts_as_on_real_models(trained):
    judge = Brightness()
    judge.preview_skill = None
    probe = CombineProbes.execute(trained(), PreviewReward(decode, judge, "a prompt"))[0]
    assert all(first > 0 and second > 0 for first, second in probe.weights)


def test_what_does_not_belong_together_is_refused_with_what_to_connect(trained):
    preview = PreviewReward(decode, Brightness(), "a prompt")
    for given, expected in (
        ((AttentionFocus(), preview), "Connect a trained probe"),
        ((trained(), AttentionFocus()), "Connect a preview reward"),
        ((trained(held_out={}), preview), "Train it again"),
        ((trained(label="other", heads=("other",)), preview), "Connect the reward other to the preview's probe"),
    ):
        with pytest.raises(ValueError, match=expected) as raised:
            CombineProbes.execute(*given)
        assert "Combine Probes" in str(raised.value)
