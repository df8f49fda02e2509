"""Seed Search: sample many seeds together and finish those that the user chooses, or that score best."""

from typing import Any

import comfy.samplers
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..engine.board.channel import open_board
from ..engine.board.prompt_texts import prompt_texts, short_text
from ..engine.capture.prompt.variants import encoded_like
from ..engine.core.seed_list import MOST_SEEDS
from ..engine.seed_search.candidates import ksampler_candidate
from ..engine.seed_search.outcome import outcome_text
from ..engine.seed_search.policies.by_name import CUT_SHARE, POLICIES, SEQUENTIAL
from ..engine.seed_search.prompt_trials import wordings
from ..engine.seed_search.ready import ready_to_score
from .errors import named_errors
from .search_run import REFUSE, Search, found_latent, times_nothing_was_chosen
from .sockets import (
    Probe,
    Scores,
    first_seed_input,
    hold_inputs,
    seed_count_input,
    seed_list_input,
    use_anyway_input,
)

AS_IN_KSAMPLER = "As in KSampler."

MOST_VARIANTS = 100
"""Bound of the wordings in one text."""

MORE_PROMPTS = ("positive_2", "positive_3", "positive_4")


class SeedSearch(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeSeedSearch",
            display_name="Seed Search",
            category="diffusion probe",
            description="Shows many seeds early, and finishes those you choose. With a probe it drops the bad ones by "
            "itself. Each image is what KSampler makes of its seed.",
            search_aliases=[
                *("pick best", "best seed", "many seeds", "seed explorer", "variations", "batch seeds", "choose image"),
                *("image filter", "best of n", "seed selection", "early stopping", "cherry pick", "diffusion probe"),
            ],
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
                    advanced=True,
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
                    advanced=True,
                    tooltip='A Preview Reward that ranks the finished images. It may be the same as "probe".',
                ),
                *(
                    io.Conditioning.Input(
                        name,
                        optional=True,
                        advanced=True,
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
                io.Clip.Input("clip", optional=True, tooltip='Encodes "variants", as CLIP Text Encode does.'),
                io.String.Input(
                    "variants",
                    default="",
                    multiline=True,
                    optional=True,
                    placeholder="other wordings of the prompt, one per line",
                    tooltip='Other wordings, one per line, typed or from a node. "clip" encodes them; guidance is that '
                    'of "positive".',
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
        return times_nothing_was_chosen(inputs)

    @classmethod
    def execute(
        cls, model, positive, negative, latent_image, seed, candidates, survivors, budget, policy,
        steps, cfg, sampler_name, scheduler, denoise, probe=None, seeds="", judge=None, target=0.8, max_rows=0,
        unskilled_scores=REFUSE, positive_2=None, positive_3=None, positive_4=None, hold_for_me=False, hold_seconds=300,
        cut=CUT_SHARE, finish="", around="", strength=0.15, clip=None, variants="",
    ) -> io.NodeOutput:  # fmt: skip
        prompts = [positive, *(more for more in (positive_2, positive_3, positive_4) if more is not None)]
        connected = len(prompts)
        settings = (steps, cfg, sampler_name, scheduler)

        def candidate(name, prompt: int):
            return ksampler_candidate(name, *settings, prompts[prompt], negative, latent_image, denoise, prompt)

        with named_errors("Seed Search"), open_board() as channel:
            probe, judge = ready_to_score(model, probe, judge, positive, latent_image)
            search = Search(
                seed=seed, candidates=candidates, survivors=survivors, budget=budget, policy=policy, probe=probe,
                seeds=seeds, judge=judge, target=target, max_rows=max_rows, unskilled_scores=unskilled_scores,
                hold_for_me=hold_for_me, hold_seconds=hold_seconds, cut=cut, finish=finish, around=around,
                strength=strength,
            )  # fmt: skip
            lines = variant_lines(variants, clip)
            prompts += [encoded_like(clip, line, positive) for line in lines]
            texts = prompt_texts(("positive", *MORE_PROMPTS)) or ("",) * connected
            texts = (*texts, *map(short_text, lines))
            result, shown = search.run(channel, model, candidate, steps, latent_image, texts, len(prompts))
        if result.latents is None:  # silent: that nothing was chosen is a normal result
            search.note_nothing_chosen(steps=steps, sampler_name=sampler_name, scheduler=scheduler, cfg=cfg)
            return io.NodeOutput(*[ExecutionBlocker(None)] * len(cls.define_schema().outputs), ui=shown)
        outcome, best = result.outcome, [result.outcome.candidates[number] for number in result.survivors]
        return io.NodeOutput(
            found_latent(latent_image, result),
            ", ".join(str(each.name) for each in best),
            outcome.scores(),
            outcome_text(outcome),
            prompts[best[0].prompt],
            outcome.kept_scores(),
            ", ".join(str(each.prompt + 1) for each in best),
            ui=shown,
        )


def variant_lines(text: str, clip: Any) -> list[str]:
    """Return the wordings of the input "variants".

    Raises:
        ValueError: there are some and no text encoder, or too many.
    """
    lines = wordings(text)
    if lines and clip is None:
        raise ValueError(
            '"variants" has wordings and nothing encodes them. Connect the CLIP of CLIP Text Encode to "clip", or '
            'empty "variants".'
        )
    if len(lines) > MOST_VARIANTS:
        raise ValueError(
            f'"variants" has {len(lines)} lines, and each seed is sampled with each of them. Give {MOST_VARIANTS} '
            "wordings at most."
        )
    return lines


NODES = [SeedSearch]
