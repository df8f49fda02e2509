"""Seed Search: sample many seeds together and finish those that the user chooses, or that score best."""

from collections import deque
from typing import Any

import comfy.samplers
from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker

from ..engine.board.channel import open_board
from ..engine.board.history import HISTORY
from ..engine.board.prompt_texts import prompt_texts
from ..engine.board.schema import BOARD_OUTPUT
from ..engine.board.search_board import SearchBoard
from ..engine.capture.hooks.families import require_fit
from ..engine.core.features import DENOISED
from ..engine.core.scores import SeedName
from ..engine.core.seed_list import MOST_SEEDS, candidate_names, listed_names, names_around
from ..engine.core.skill import PREVIEW, Skill
from ..engine.seed_search.candidates import ksampler_candidate
from ..engine.seed_search.outcome import outcome_report, outcome_text
from ..engine.seed_search.policies.by_name import CUT_SHARE, GOOD_ENOUGH, POLICIES, SEQUENTIAL, policy_named
from ..engine.seed_search.policies.chosen import Chosen
from ..engine.seed_search.prefixes import PREFIXES
from ..engine.seed_search.ready import ready_to_score, require_numbers
from ..engine.seed_search.result import FinalReward, candidate_pictures
from ..engine.seed_search.search import SearchOptions, finish_candidates, seed_search
from .errors import named_errors
from .sockets import (
    USE_ANYWAY,
    Probe,
    Scores,
    first_seed_input,
    hold_inputs,
    seed_count_input,
    seed_list_input,
    use_anyway_input,
)

REFUSE = "refuse"
AS_IN_KSAMPLER = "As in KSampler."

NOTHING_CHOSEN: deque[dict[str, Any]] = deque(maxlen=64)
"""Values of the inputs of runs in which nothing was chosen. ComfyUI would not run them again, if nothing changed."""

MORE_PROMPTS = ("positive_2", "positive_3", "positive_4")


class SeedSearch(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeSeedSearch",
            display_name="Seed Search",
            category="diffusion probe/seeds",
            description="Shows many seeds early, and finishes those you choose. With a probe it drops the bad ones by "
            "itself. Each image is what KSampler makes of its seed.",
            search_aliases=["best of n", "seed selection", "early stopping", "cherry pick", "diffusion probe"],
            has_intermediate_output=True,
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The model to sample, from before Attach Probe and Seed Batch, with or without LoRA.",
                ),
                Probe.Input(
                    "probe",
                    optional=True,
                    tooltip="Scores the candidates, for example Preview Reward. Without one you choose on the board.",
                ),
                io.Conditioning.Input("positive", tooltip="What the image should show."),
                io.Conditioning.Input("negative", tooltip="What the image should not show."),
                io.Latent.Input("latent_image", tooltip="The latent that every candidate starts from; one row."),
                first_seed_input("seed"),
                seed_count_input("candidates", "How many seeds to choose from."),
                io.Int.Input(
                    "survivors",
                    default=1,
                    min=1,
                    max=MOST_SEEDS,
                    tooltip="How many images you want. If you choose yourself, as many as you pin.",
                ),
                io.Float.Input(
                    "budget",
                    default=4.0,
                    min=0.0,
                    max=1e4,
                    step=0.1,
                    tooltip="Cost limit in images: 4 is as many steps as four images take. 0: score all at the cut. "
                    "Not used without a probe.",
                ),
                io.Combo.Input(
                    "policy",
                    options=list(POLICIES),
                    default=SEQUENTIAL,
                    tooltip='"sequential" decides at many moments, "one cut" at one, "successive halving" at three. '
                    "Not used without a probe.",
                ),
                io.Int.Input("steps", default=20, min=1, max=10000, tooltip=AS_IN_KSAMPLER),
                io.Float.Input("cfg", default=8.0, min=0.0, max=100.0, step=0.1, round=0.01, tooltip=AS_IN_KSAMPLER),
                io.Combo.Input("sampler_name", options=comfy.samplers.KSampler.SAMPLERS, tooltip=AS_IN_KSAMPLER),
                io.Combo.Input("scheduler", options=comfy.samplers.KSampler.SCHEDULERS, tooltip=AS_IN_KSAMPLER),
                io.Float.Input("denoise", default=1.0, min=0.0, max=1.0, step=0.01, tooltip=AS_IN_KSAMPLER),
                seed_list_input('"seed" and "candidates"'),
                Probe.Input(
                    "judge",
                    optional=True,
                    tooltip='A Preview Reward that ranks the finished images. It may be the same as "probe".',
                ),
                *(
                    io.Conditioning.Input(
                        name,
                        optional=True,
                        tooltip="Another wording of the prompt. Each seed is a candidate with each wording.",
                    )
                    for name in MORE_PROMPTS
                ),
                io.Float.Input(
                    "target",
                    default=0.8,
                    min=-1e6,
                    max=1e6,
                    step=0.01,
                    round=False,
                    optional=True,
                    advanced=True,
                    tooltip='For the policy "until good enough": the probe\'s score that is good enough.',
                ),
                io.Int.Input(
                    "max_rows",
                    default=0,
                    min=0,
                    max=4096,
                    optional=True,
                    advanced=True,
                    tooltip="Most rows in a model call; an image takes one, with CFG two. 0: what memory allows.",
                ),
                use_anyway_input(REFUSE, "is refused", optional=True),
                *hold_inputs(),
                io.Float.Input(
                    "cut",
                    default=CUT_SHARE,
                    min=0.05,
                    max=0.95,
                    step=0.05,
                    optional=True,
                    advanced=True,
                    tooltip='Share of the steps after which you choose, or "one cut" decides. Later pictures are '
                    "clearer, and cost more.",
                ),
                io.String.Input(
                    "finish",
                    default="",
                    optional=True,
                    advanced=True,
                    placeholder="507, 512 prompt 2",
                    tooltip="Finish only these candidates, in this order, without a search. The board fills it in for "
                    "one run.",
                ),
                io.String.Input(
                    "around",
                    default="",
                    optional=True,
                    placeholder="a seed: 507",
                    tooltip="A seed to vary: each candidate mixes its noise with that of its own seed. Empty: off.",
                ),
                io.Float.Input(
                    "strength",
                    default=0.15,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    tooltip='How far the candidates differ from "around": 0.1 a little, 0.3 much, 1: other seeds.',
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The finished survivors, best first."),
                io.String.Output(display_name="seeds", tooltip="Their seeds as text, best first."),
                Scores.Output(
                    display_name="scores", tooltip="The last score of each scored candidate, and when it was dropped."
                ),
                io.String.Output(
                    display_name="report", tooltip="The cost of the search and the outcome of each candidate."
                ),
                io.Conditioning.Output(display_name="positive", tooltip="The prompt of the best survivor."),
                Scores.Output(
                    display_name="kept_scores",
                    tooltip="The survivors' scores, for Save Seed Images: the judge's, or the last ones of the probe.",
                ),
                io.String.Output(
                    display_name="prompts",
                    tooltip='The prompt of each survivor, best first: 1 is "positive", 2 the next one connected.',
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs) -> int:
        """Return another number after a run in which nothing was chosen, so that the same prompt runs again."""
        return sum(all(inputs.get(name, value) == value for name, value in run.items()) for run in NOTHING_CHOSEN)

    @classmethod
    def execute(
        cls, model, positive, negative, latent_image, seed, candidates, survivors, budget, policy,
        steps, cfg, sampler_name, scheduler, denoise, probe=None, seeds="", judge=None, target=0.8, max_rows=0,
        unskilled_scores=REFUSE, positive_2=None, positive_3=None, positive_4=None, hold_for_me=False, hold_seconds=300,
        cut=CUT_SHARE, finish="", around="", strength=0.15,
    ) -> io.NodeOutput:  # fmt: skip
        prompts = [positive, *(more for more in (positive_2, positive_3, positive_4) if more is not None)]
        settings = (steps, cfg, sampler_name, scheduler)

        def candidate(name, prompt: int):
            return ksampler_candidate(name, *settings, prompts[prompt], negative, latent_image, denoise, prompt)

        with named_errors("Seed Search"), open_board() as channel:
            probe, judge = ready_to_score(model, probe, judge, positive, latent_image)
            final_reward, texts = final_reward_of(judge), prompt_texts(("positive", *MORE_PROMPTS))
            if finish.strip():
                found = [candidate(name, prompt) for name, prompt in named_candidates(finish, len(prompts))]
                board = SearchBoard(channel, model, None, wanted=len(found), prompts=texts)
                options = SearchOptions(max_rows, final_reward, board, PREFIXES)
                result = finish_candidates(model, found, options)
            else:
                require_usable(probe, model, unskilled_scores == USE_ANYWAY)
                names = names_around(around, strength, listed_names(seed, candidates, seeds))
                found = [candidate(name, prompt) for name in names for prompt in range(len(prompts))]
                if probe is not None:
                    require_numbers(steps, len(found), survivors, budget, judge is not None)

                def make_policy(run_steps: int):
                    if probe is None:
                        return Chosen(cut)
                    spend = round(budget * run_steps) if budget else None
                    return policy_named(
                        policy, run_steps, len(found), survivors, spend,
                        skill=skill_of(probe), final_reward=judge is not None, target=target, share=cut,
                    )  # fmt: skip

                waits = hold_seconds if hold_for_me or probe is None else None
                aim = target if policy == GOOD_ENOUGH and probe is not None else None
                board = SearchBoard(channel, model, probe, waits, aim, survivors, texts)
                options = SearchOptions(max_rows, final_reward, board, PREFIXES)
                result = seed_search(model, found, probe, make_policy, survivors, options)
        outcome = result.outcome
        shown = {"text": [outcome_text(outcome)], "diffusion_probe": [outcome_report(outcome)]}
        shown[BOARD_OUTPUT] = [HISTORY.add(board.outcome_board(outcome).values())]
        pictures = candidate_pictures(model, result)
        if pictures is not None:
            shown |= ui.PreviewImage(pictures).as_dict()
        if result.latents is None:
            values = {"seed": seed, "candidates": candidates, "seeds": seeds, "around": around, "steps": steps}
            NOTHING_CHOSEN.append({**values, "sampler_name": sampler_name, "scheduler": scheduler, "cfg": cfg})
            return io.NodeOutput(*[ExecutionBlocker(None)] * len(cls.define_schema().outputs), ui=shown)
        best = [outcome.candidates[number] for number in result.survivors]
        latent = {name: value for name, value in latent_image.items() if name in ("noise_mask", "type")}
        return io.NodeOutput(
            {**latent, "samples": result.latents},
            ", ".join(str(each.name) for each in best),
            outcome.scores(),
            outcome_text(outcome),
            prompts[best[0].prompt],
            outcome.kept_scores(),
            ", ".join(str(each.prompt + 1) for each in best),
            ui=shown,
        )


def skill_of(probe) -> Skill:
    """Return how well a probe's scores predict the reward: from its file, or as measured for previews."""
    return probe.search_skill or PREVIEW


def named_candidates(text: str, prompts: int) -> list[tuple[SeedName, int]]:
    """Parse the candidates to finish: name of the noise, and index of the prompt.

    Raises:
        ValueError: a text that names no candidates, or a prompt that isn't connected.
    """
    chosen = candidate_names(text)
    wrong = next((f"{name} prompt {prompt + 1}" for name, prompt in chosen if prompt >= prompts), None)
    if wrong:
        raise ValueError(
            f'"finish" names {wrong}, and {prompts} of the inputs positive to positive 4 are connected. Connect that '
            "prompt, or give a number that is there."
        )
    return chosen


def require_usable(probe, model, use_unskilled: bool) -> None:
    """Refuse a probe that doesn't fit the model, or has no measured skill; None, for no probe, is accepted.

    Raises:
        ValueError: says what to connect.
    """
    if probe is None:
        return
    require_fit(probe, model)
    if not probe.skilled and not use_unskilled:
        raise ValueError(
            f'the score "{probe.label}" of {probe.name} has no measured skill in ranking seeds: searching by it costs '
            "more than drawing a seed, and finds no better one. Connect Preview Reward, set unskilled scores to "
            f'"{USE_ANYWAY}", or take the probe out and choose yourself.'
        )


def final_reward_of(judge) -> FinalReward | None:
    """Return the reward of finished latents by a judge, None for none.

    Raises:
        ValueError: the judge can't score a finished latent.
    """
    if judge is None:
        return None
    if set(judge.needs) - {DENOISED}:
        raise ValueError(
            f"{judge.name} can't judge finished images: it needs what only a run on the way has. "
            "Connect a Preview Reward to judge."
        )
    return FinalReward(judge.score, judge.label)


NODES = [SeedSearch]
