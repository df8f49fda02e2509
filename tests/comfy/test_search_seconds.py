"""Progress and duration of a search in the console: KSampler's bar, and one closing line."""

import io
import logging
from dataclasses import replace

import comfy.utils
import pytest
import torch
from comfy.model_management import InterruptProcessingException
from diffusion_probe.dev.random_models import random_conditioning, random_flux
from diffusion_probe.engine.core.features import DENOISED
from diffusion_probe.engine.core.probe import Probe
from diffusion_probe.engine.seed_search import progress as progress_module
from diffusion_probe.engine.seed_search.candidates import Candidate, ksampler_candidate
from diffusion_probe.engine.seed_search.clock import SearchClock
from diffusion_probe.engine.seed_search.outcome import CandidateOutcome, Outcome
from diffusion_probe.engine.seed_search.policies.by_name import ONE_CUT, policy_named
from diffusion_probe.engine.seed_search.progress import RowProgress
from diffusion_probe.engine.seed_search.result import closing_line
from diffusion_probe.engine.seed_search.search import seed_search

STEPS = 5


class Mean(Probe):
    name, label, needs, skilled = "mean", "mean", frozenset({DENOISED}), True

    def score(self, rows):
        return torch.stack([row.denoised.mean() for row in rows])


@pytest.fixture(scope="module")
def model():
    return random_flux(hidden_size=128, depth=1, depth_single_blocks=1)


@pytest.fixture
def console(monkeypatch):
    """What the bars write."""
    written = io.StringIO()

    def bar(*args, **options):
        return tqdm(*args, file=written, mininterval=0, **options)

    tqdm = progress_module.tqdm
    monkeypatch.setattr(progress_module, "tqdm", bar)
    return written


@torch.inference_mode()
def search(model, on_step=lambda step: None, found=None):
    latent = {"samples": torch.zeros(1, 16, 8, 12)}
    prompts = random_conditioning(1), random_conditioning(2)
    stock = [ksampler_candidate(seed, STEPS, 1.0, "euler", "simple", *prompts, latent) for seed in range(3)]

    def watched(candidate):
        def sample(model, callback):
            return candidate.sample(model, lambda step, *rest: (on_step(step), callback(step, *rest)))

        return replace(candidate, sample=sample)

    policy = lambda steps: policy_named(ONE_CUT, steps, 3, 1, share=0.4)  # noqa: E731
    return seed_search(model, found or [watched(each) for each in stock], Mean(), policy)


def test_the_console_has_one_bar_of_all_candidates_steps(model, console, caplog):
    caplog.set_level(logging.INFO)
    search(model)
    last = console.getvalue().split("\r")[-1]
    assert last.startswith("100%|") and "| 9/9 [" in last and last.endswith("\n"), "three to step 2, one to the end"
    (line,) = [each.message for each in caplog.records if "finished:" in each.message]
    assert line.startswith("Diffusion Probe: 3 seeds, 1 finished: ") and " s" in line


def test_a_run_without_bars_writes_none(model, console, monkeypatch):
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_ENABLED", False)
    search(model)
    assert not console.getvalue()


def test_a_cancelled_search_closes_its_bar_where_it_stands(model, console):
    def cancel(step):
        if step == 3:
            raise InterruptProcessingException()

    with pytest.raises(InterruptProcessingException):
        search(model, cancel)
    last = console.getvalue().split("\r")[-1]
    assert last.endswith("\n") and "100%" not in last and "/9 [" in last


def test_nothing_is_written_when_nothing_is_sampled(model, console):
    def fail(model, callback):
        raise RuntimeError("the conditioning is of another model")

    with pytest.raises(ValueError, match="no candidate was finished"):
        search(model, found=[Candidate(seed, fail) for seed in range(3)])
    assert not console.getvalue()


def test_rows_are_expected_for_the_steps_that_are_computed(model):
    progress = RowProgress(model, 40)
    assert progress.update(rows=20, steps=10) == 80, "two rows for each step"
    progress.not_computed = 8
    assert progress.update(rows=4, steps=10) == 4 + 2 * 30, "eight of the ten steps were kept"
    assert progress.update(rows=70, steps=43) == 70, "a search may take more steps than expected"


def outcome(finished, prompts=1):
    """Outcome of four candidates of which so many are finished, 40 rows each, the others stopped at 8."""
    rows = [
        CandidateOutcome(seed, seed % prompts, (), 20 if seed < finished else 4, 40 if seed < finished else 8, 20,
                         seed < finished)
        for seed in range(4)
    ]  # fmt: skip
    return Outcome(tuple(rows), 20, 1, "a probe", "quality", True)


def clock(rate, elapsed):
    """Clock of a search whose calls take ``rate`` seconds for each row, after so many seconds."""
    times = iter([0.0, 0.0, 10 * rate, 20 * rate])
    clock = SearchClock(lambda: next(times, elapsed))
    clock.sample()
    clock.sampled(10)
    clock.sampled(20)
    return clock


def test_the_closing_line_says_what_was_saved_and_what_was_not():
    assert closing_line(outcome(1), clock(1.4, 58)) == "4 seeds, 1 finished: 58 s instead of 3 min 44 s."
    assert closing_line(outcome(1, prompts=2), clock(1.4, 58)).startswith("4 candidates, 1 finished: 58 s")
    assert closing_line(outcome(4), clock(1.4, 230)) == "4 seeds, 4 finished: 3 min 50 s."
    slow = closing_line(outcome(1), clock(0.1, 58))
    assert slow == "4 seeds, 1 finished: 58 s; finishing all would have taken 16 s."
