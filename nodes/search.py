"""Seed Search: many seeds start together, the promising ones are finished."""

import comfy.samplers
from comfy_api.latest import io, ui

from ..engine.board.channel import open_board
from ..engine.board.search_board import SearchBoard
from ..engine.board.values import BOARD
from ..engine.capture.hooks.families import require_fit
from ..engine.core.features import DENOISED
from ..engine.core.seed_list import LARGEST_SEED, MOST_SEEDS, seed_list
from ..engine.core.skill import PREVIEW, Skill
from ..engine.seed_search.candidates import ksampler_candidate
from ..engine.seed_search.outcome import outcome_report, outcome_text
from ..engine.seed_search.policies.by_name import GOOD_ENOUGH, POLICIES, SEQUENTIAL, policy_named
from ..engine.seed_search.result import candidate_pictures
from ..engine.seed_search.run import seed_search
from .errors import named_errors
from .types import Probe, Scores, hold_inputs

REFUSE, USE_ANYWAY = "refuse", "use anyway"
MORE_PROMPTS = ("positive_2", "positive_3", "positive_4")


class SeedSearch(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeSeedSearch",
            display_name="Seed Search",
            category="diffusion probe/seeds",
            description="A KSampler that starts many seeds together, scores them on the way, drops the bad ones, and "
            "finishes the best. Each image is exactly what a KSampler gives for its seed.",
            search_aliases=["best of n", "seed selection", "early stopping", "cherry pick", "diffusion probe"],
            has_intermediate_output=True,
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The model to sample, without Attach Probe and Seed Batch. LoRA may come before.",
                ),
                Probe.Input("probe", tooltip="What scores the candidates on the way, for example Preview Reward."),
                io.Conditioning.Input("positive", tooltip="What the image should show."),
                io.Conditioning.Input("negative", tooltip="What it should not show."),
                io.Latent.Input("latent_image", tooltip="The one latent that every candidate starts from."),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=LARGEST_SEED,
                    control_after_generate=True,
                    tooltip="The first seed; the others follow one by one. Not used when the list has seeds.",
                ),
                io.Int.Input(
                    "candidates",
                    default=16,
                    min=1,
                    max=MOST_SEEDS,
                    tooltip="How many seeds to choose from. Not used when the list has seeds.",
                ),
                io.Int.Input("survivors", default=1, min=1, max=MOST_SEEDS, tooltip="How many images you want."),
                io.Float.Input(
                    "budget",
                    default=4.0,
                    min=0.0,
                    max=1e4,
                    step=0.1,
                    tooltip="What the search may cost: as many steps as sampling this many images. Samplers with two "
                    "evaluations per step pay twice for an image too. 0: as much as looking at all candidates after "
                    "20 % of the steps and finishing the survivors.",
                ),
                io.Combo.Input(
                    "policy",
                    options=list(POLICIES),
                    default=SEQUENTIAL,
                    tooltip="sequential looks at many moments and spends each step where it is worth most. one cut "
                    "looks once, at 20 %. successive halving drops half at 20, 35 and 50 %. until good enough tries "
                    "seeds until one reaches the target.",
                ),
                io.Int.Input("steps", default=20, min=1, max=10000, tooltip="As in KSampler."),
                io.Float.Input("cfg", default=8.0, min=0.0, max=100.0, step=0.1, round=0.01, tooltip="As in KSampler."),
                io.Combo.Input("sampler_name", options=comfy.samplers.KSampler.SAMPLERS, tooltip="As in KSampler."),
                io.Combo.Input("scheduler", options=comfy.samplers.KSampler.SCHEDULERS, tooltip="As in KSampler."),
                io.Float.Input("denoise", default=1.0, min=0.0, max=1.0, step=0.01, tooltip="As in KSampler."),
                io.String.Input(
                    "seeds",
                    default="",
                    multiline=True,
                    optional=True,
                    placeholder="or a list of seeds: 7, 8, 42",
                    tooltip="Seeds of your own, separated by commas, spaces or lines. Empty: seed and candidates.",
                ),
                Probe.Input(
                    "judge",
                    optional=True,
                    tooltip="A Preview Reward that looks at the finished images and orders them. The sequential policy "
                    "then finishes more than it needs where that pays.",
                ),
                *(
                    io.Conditioning.Input(
                        name,
                        optional=True,
                        tooltip="Another wording of the prompt. Every seed is a candidate with each wording.",
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
                    tooltip="Only for until good enough: the score of the probe that is good enough.",
                ),
                io.Int.Input(
                    "max_rows",
                    default=0,
                    min=0,
                    max=4096,
                    optional=True,
                    advanced=True,
                    tooltip="Most rows per model call; each image takes one, with CFG two. "
                    "0: as many as fit in memory.",
                ),
                io.Combo.Input(
                    "unskilled_scores",
                    options=[REFUSE, USE_ANYWAY],
                    default=REFUSE,
                    optional=True,
                    advanced=True,
                    tooltip="A score that was not measured to pick better seeds than full images at the same cost is "
                    "refused, unless this says use anyway.",
                ),
                *hold_inputs(),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The finished survivors, best first."),
                io.String.Output(display_name="seeds", tooltip="Their seeds as text, best first."),
                Scores.Output(
                    display_name="scores", tooltip="Every scored candidate's last score, and when it was dropped."
                ),
                io.String.Output(display_name="report", tooltip="What it cost, and what became of each candidate."),
                io.Conditioning.Output(display_name="positive", tooltip="The prompt of the best survivor."),
                Scores.Output(
                    display_name="kept_scores",
                    tooltip="The survivors' scores in the order of the latent, for Save Seed Images: the judge's, or "
                    "their last of the probe.",
                ),
                io.String.Output(
                    display_name="prompts",
                    tooltip="Which prompt each survivor is of, best first: 1 is positive, 2 the next one connected.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, model, probe, positive, negative, latent_image, seed, candidates, survivors, budget, policy,
        steps, cfg, sampler_name, scheduler, denoise, seeds="", judge=None, target=0.8, max_rows=0,
        unskilled_scores=REFUSE, positive_2=None, positive_3=None, positive_4=None, hold_for_me=False, hold_seconds=300,
    ) -> io.NodeOutput:  # fmt: skip
        with named_errors("Seed Search"), open_board() as channel:
            require_fit(probe, model)
            check_probes(probe, judge, unskilled_scores == USE_ANYWAY)
            prompts = [positive, *(more for more in (positive_2, positive_3, positive_4) if more is not None)]
            settings = (steps, cfg, sampler_name, scheduler)
            found = [
                ksampler_candidate(number, *settings, prompts[prompt], negative, latent_image, denoise, prompt)
                for number in seed_list(seed, candidates, seeds)
                for prompt in range(len(prompts))
            ]

            def make_policy(run_steps: int):
                spend = round(budget * run_steps) if budget else None
                return policy_named(
                    policy, run_steps, len(found), survivors, spend, skill_of(probe), judge is not None, target
                )

            judging = (judge.score, judge.label) if judge is not None else (None, "")
            waits, aim = hold_seconds if hold_for_me else None, target if policy == GOOD_ENOUGH else None
            board = SearchBoard(channel, model, found, probe, waits, aim)
            result = seed_search(model, found, probe, make_policy, survivors, max_rows, *judging, watcher=board)
        outcome, best = result.outcome, [result.outcome.fates[row] for row in result.survivors]
        latent = {name: value for name, value in latent_image.items() if name in ("noise_mask", "type")}
        shown = {"text": [outcome_text(outcome)], "diffusion_probe": [outcome_report(outcome)]}
        shown[BOARD] = [board.ended(outcome)]
        pictures = candidate_pictures(model, result)
        if pictures is not None:
            shown |= ui.PreviewImage(pictures).as_dict()
        return io.NodeOutput(
            {**latent, "samples": result.latents},
            ", ".join(str(fate.name) for fate in best),
            outcome.scores(),
            outcome_text(outcome),
            prompts[best[0].prompt],
            outcome.kept_scores(),
            ", ".join(str(fate.prompt + 1) for fate in best),
            ui=shown,
        )


def skill_of(probe) -> Skill:
    """How well a probe's scores predict the end: as its file says, or as previews do."""
    return probe.search_skill or PREVIEW


def check_probes(probe, judge, use_unskilled: bool) -> None:
    """Refuse what would search at random, and a judge that can't judge a finished latent.

    Raises:
        ValueError: says what to connect.
    """
    if not probe.skilled and not use_unskilled:
        raise ValueError(
            f"the score “{probe.label}” of {probe.name} has no measured skill in ranking seeds: searching by it costs "
            "more than drawing a seed, and finds no better one. Connect Preview Reward, or set unskilled scores to "
            f"“{USE_ANYWAY}”."
        )
    if judge is not None and set(judge.needs) - {DENOISED}:
        raise ValueError(
            f"{judge.name} can't judge finished images: it needs what only a run on the way has. "
            "Connect a Preview Reward to judge."
        )


NODES = [SeedSearch]
