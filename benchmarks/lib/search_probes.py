"""Probes that a seed search is measured with, and their scores of recorded candidates."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusion_probe.engine.capture.attach import attach_probe
from diffusion_probe.engine.capture.read import captured
from diffusion_probe.engine.core.probe import Probe
from diffusion_probe.engine.core.skill import PREVIEW as PREVIEW_SKILL
from diffusion_probe.engine.core.skill import Skill, combine
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, SEQUENTIAL, policy_named
from diffusion_probe.engine.seed_search.policies.policy import Policy
from diffusion_probe.probe_models.combined import CombinedProbe
from diffusion_probe.probe_models.combining import combine_probes
from diffusion_probe.probe_models.focus import AttentionFocus
from diffusion_probe.probe_models.preview import PreviewReward
from diffusion_probe.probe_models.probe_file import LearnedProbe, load_probe
from diffusion_probe.testbed import sample
from diffusion_probe.testbed.load import PROBES
from diffusion_probe.testbed.scorer import GroundTruth

from benchmarks.lib.candidates import Testbed


@dataclass(frozen=True)
class Searcher:
    """One probe, and the way in which a search by it goes.

    Attributes:
        name: in the names of methods.
        make: the testbed and a prompt → the probe.
        skill: how well its scores predict the end, for the policy.
        sequential: whether the default policy is measured with it, too.
        digest: of its file, None where it isn't from a file.
    """

    name: str
    make: Callable[[Testbed, str], Probe]
    skill: Skill = PREVIEW_SKILL
    sequential: bool = True
    digest: str | None = None

    def policy(self, name: str, candidates: int, final_reward: bool = False, budget: int | None = None) -> Policy:
        """Return the policy of a search for one survivor, by default at the cost of one cut at 20 %."""
        return policy_named(name, sample.STEPS, candidates, budget=budget, skill=self.skill, final_reward=final_reward)

    def looks(self, candidates: int) -> list[int]:
        """Return every step at which some policy looks."""
        policies = [self.policy(ONE_CUT, candidates)]
        if self.sequential:
            policies += [self.policy(SEQUENTIAL, candidates, final_reward) for final_reward in (False, True)]
        return sorted({moment for policy in policies for moment in policy.moments(sample.STEPS)})


FOCUS = Searcher("focus", lambda testbed, prompt: AttentionFocus(), sequential=False)
PREVIEW = Searcher("preview", lambda testbed, prompt: PreviewReward(testbed.decode, GroundTruth(), prompt))
UNTRAINED = (FOCUS, PREVIEW)


def trained(path: Path) -> list[Searcher]:
    """Return the probe in a file, named as the file is, with the skill that it states; a joint one with previews, too.

    Raises:
        SystemExit: it can't be read; the message says why.
    """
    try:
        probe = load_probe(path)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    skill = probe.search_skill or PREVIEW_SKILL
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    alone = Searcher(probe.name, lambda testbed, prompt: probe, skill, digest=digest)
    combines = probe.card.kind == "joint" and probe.search_skill
    return [alone, with_preview(probe, digest)] if combines else [alone]


def with_preview(probe: LearnedProbe, digest: str) -> Searcher:
    """Combine a trained probe and previews, as Combine Probes does."""
    _, skill = combine(probe.search_skill, GroundTruth.preview_skill)

    def combined(testbed: Testbed, prompt: str) -> CombinedProbe:
        return combine_probes(probe, PREVIEW.make(testbed, prompt))

    return Searcher(f"{probe.name} with preview", combined, skill, digest=f"{digest}-preview")


def searchers(model: str, files: Sequence[Path]) -> list[Searcher]:
    """Return the probes that need no training, those that come with the testbed model, and those of the files.

    Raises:
        SystemExit: two have the same name, or a file can't be read.
    """
    shipped = sorted((PROBES / model).glob("*.safetensors"))
    paths = dict.fromkeys([*shipped, *(path.resolve() for path in files)])
    probes = [*UNTRAINED, *(searcher for path in paths for searcher in trained(path))]
    names = [one.name for one in probes]
    if twice := {name for name in names if names.count(name) > 1}:
        raise SystemExit(f"two probes are called {', '.join(sorted(twice))}: rename one of the files.")
    return probes


@torch.inference_mode()
def early_scores(
    testbed: Testbed, searcher: Searcher, prompt: str, seeds: Sequence[int], steps: Sequence[int]
) -> dict[int, list[float]]:
    """Return a probe's score of each seed at each step, in runs that end at the last of them."""
    probe = searcher.make(testbed, prompt)
    model = attach_probe(testbed.model, probe, ", ".join(f"step {step}" for step in steps))
    latent = {"samples": testbed.latents(model, prompt, seeds, last_step=max(steps))}
    return {step: probe.score(captured(model, latent, f"step {step}")).tolist() for step in steps}
