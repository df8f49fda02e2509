"""Seed Search (Custom): the search of Seed Search for graphs that sample by SamplerCustomAdvanced."""

from typing import Any

import comfy.model_patcher
from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..engine.board.channel import open_board
from ..engine.seed_search.candidates import guider_candidate
from ..engine.seed_search.outcome import outcome_text
from ..engine.seed_search.ready import ready_to_score
from .errors import named_errors
from .search import SeedSearch
from .search_run import Search, found_latent, times_nothing_was_chosen

SHARED_FIRST = ("latent_image", "seed", "candidates", "survivors", "budget", "policy", "seeds", "judge", "target")
SHARED_LAST = ("max_rows", "unskilled_scores", "hold_for_me", "hold_seconds", "cut", "finish", "around", "strength")
SHARED_OUTPUTS = ("latent", "seeds", "scores", "report", "kept_scores")


class SeedSearchCustom(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        search = SeedSearch.define_schema()
        inputs = {each.id: each for each in search.inputs}
        outputs = {each.display_name: each for each in search.outputs}
        return io.Schema(
            node_id="DiffusionProbeSeedSearchCustom",
            display_name="Seed Search (Custom)",
            category="diffusion probe/construction kit",
            description="Seed Search for graphs with a GUIDER, a SAMPLER and SIGMAS. Each image is what "
            "SamplerCustomAdvanced makes of its seed.",
            search_aliases=["custom sampler", "guider", "best of n", "seed selection", "diffusion probe"],
            has_intermediate_output=True,
            inputs=[
                io.Guider.Input("guider", tooltip="Model, prompts and guidance: BasicGuider, CFGGuider and others."),
                io.Sampler.Input("sampler", tooltip="As in SamplerCustomAdvanced."),
                io.Sigmas.Input("sigmas", tooltip="The whole schedule, as in SamplerCustomAdvanced."),
                inputs["probe"],
                *(inputs[name] for name in (*SHARED_FIRST, *SHARED_LAST)),
            ],
            outputs=[outputs[name] for name in SHARED_OUTPUTS],
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs) -> int:
        """Return another number after a run in which nothing was chosen, so that the same prompt runs again."""
        return times_nothing_was_chosen(inputs)

    @classmethod
    def execute(cls, guider, sampler, sigmas, latent_image, **inputs) -> io.NodeOutput:
        with named_errors("Seed Search (Custom)"), open_board() as channel:
            model = model_of(guider)
            if sigmas.shape[-1] < 2:
                raise ValueError(
                    f"the sigmas hold {sigmas.shape[-1]} noise levels, and a step needs two. Connect a scheduler of "
                    "one step or more, such as BasicScheduler with denoise above 0."
                )

            def candidate(name, prompt: int):
                return guider_candidate(name, guider, sampler, sigmas, latent_image, prompt)

            scorers = inputs.get("probe"), inputs.get("judge")
            probe, judge = ready_to_score(model, *scorers, [], latent_image, ("guider",))
            search = Search(**{**inputs, "probe": probe, "judge": judge})
            result, shown = search.run(channel, model, candidate, sigmas.shape[-1] - 1, latent_image)
        if result.latents is None:  # silent: that nothing was chosen is a normal result
            search.note_nothing_chosen()
            return io.NodeOutput(*[ExecutionBlocker(None)] * len(SHARED_OUTPUTS), ui=shown)
        outcome = result.outcome
        return io.NodeOutput(
            found_latent(latent_image, result),
            ", ".join(str(outcome.candidates[number].name) for number in result.survivors),
            outcome.scores(),
            outcome_text(outcome),
            outcome.kept_scores(),
            ui=shown,
        )


def model_of(guider: Any) -> Any:
    """Return the MODEL of a GUIDER.

    Raises:
        ValueError: it has none, or several.
    """
    model = getattr(guider, "model_patcher", None)
    if not isinstance(model, comfy.model_patcher.ModelPatcher):
        raise ValueError(
            f"the guider, a {type(guider).__name__}, has no MODEL of ComfyUI's. Connect a guider such as CFGGuider."
        )
    others = [each for each in vars(guider).values() if isinstance(each, comfy.model_patcher.ModelPatcher)]
    if any(each is not model for each in others):
        raise ValueError(
            f"the guider, a {type(guider).__name__}, samples with two MODELs, and a search joins the calls of one. "
            "Connect a guider of one MODEL, such as CFGGuider."
        )
    return model


NODES = [SeedSearchCustom]
