"""Seed Batch and Early Seed Filter: a seed for each row, and the rows that are kept."""

from dataclasses import replace

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..engine.board.channel import open_board
from ..engine.board.history import HISTORY
from ..engine.board.schema import BOARD_OUTPUT, Board
from ..engine.board.values import filter_board
from ..engine.core.marks import Marks
from ..engine.core.seed_list import seed_list
from ..engine.runs.conditioning import cut_conditioning
from ..engine.runs.latents import keep_rows
from ..engine.runs.seeds import SeedBatchNoise, use_seeds
from ..engine.selection.report import SIDES, seeds_text, selection_report, selection_text
from ..engine.selection.select import Selection, require_rows, select
from .errors import named_errors
from .sockets import (
    USE_ANYWAY,
    Scores,
    first_seed_input,
    hold_inputs,
    never_the_same,
    row_limit_inputs,
    seed_count_input,
    seed_list_input,
)


class SeedBatch(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeSeedBatch",
            display_name="Seed Batch",
            category="diffusion probe/construction kit",
            description="Gives each row of a batch a seed of its own: the row starts from exactly the noise that a "
            "single run of that seed starts from.",
            search_aliases=["multiple seeds", "seed list", "batch seeds", "random noise batch", "diffusion probe"],
            inputs=[
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="Needed for KSampler and KSampler Advanced: the model whose runs start from these seeds.",
                ),
                first_seed_input("first_seed"),
                seed_count_input("count", "How many seeds."),
                seed_list_input('"first seed" and "count"'),
            ],
            outputs=[
                io.Noise.Output(
                    display_name="noise", tooltip="The noise of the seeds. Connect it to SamplerCustomAdvanced."
                ),
                io.Model.Output(
                    display_name="model",
                    tooltip="The model for KSampler and KSampler Advanced, whose noise becomes that of the seeds.",
                ),
                io.String.Output(display_name="seeds", tooltip="The seeds as text, in row order."),
                io.Int.Output(
                    display_name="count", tooltip="The number of seeds. Connect it to batch_size of the empty latent."
                ),
            ],
        )

    @classmethod
    def execute(cls, first_seed: int, count: int, seeds: str = "", model=None) -> io.NodeOutput:
        with named_errors("Seed Batch"):
            chosen = seed_list(first_seed, count, seeds)
        patched = ExecutionBlocker(NO_MODEL) if model is None else use_seeds(model, chosen)
        return io.NodeOutput(SeedBatchNoise(chosen), patched, ", ".join(map(str, chosen)), len(chosen))


NO_MODEL = (
    "Seed Batch: its model output is in use, but nothing is connected to its model input. "
    "Connect the model, or use the noise output with SamplerCustomAdvanced."
)


class EarlySeedFilter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeEarlySeedFilter",
            display_name="Early Seed Filter",
            category="diffusion probe/construction kit",
            description="Keeps the best rows of a half-sampled batch for a second sampler. Nodes behind an output "
            "without rows are skipped, and the workflow still succeeds.",
            search_aliases=["prune seeds", "top k", "select seeds", "image filter", "gate", "diffusion probe"],
            has_intermediate_output=True,
            inputs=[
                io.Latent.Input("latent", tooltip="The latent that Probe Score scored."),
                Scores.Input("scores", tooltip="Its scores, from Probe Score."),
                *row_limit_inputs(),
                *hold_inputs(),
                *(
                    io.Conditioning.Input(
                        side,
                        optional=True,
                        tooltip=f"The {side} of the first sampler. Needed if rows have their own prompts, masks or "
                        "pictures.",
                    )
                    for side in SIDES
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="kept", tooltip="The kept rows, in their order. If there are none: skipped."
                ),
                io.String.Output(
                    display_name="kept_seeds", tooltip="The seeds of the kept rows as text, as Seed Batch takes them."
                ),
                Scores.Output(display_name="kept_scores", tooltip="The scores of the kept rows."),
                io.Latent.Output(display_name="rejected", tooltip="All other rows. If there are none: skipped."),
                *(
                    io.Conditioning.Output(
                        display_name=f"{which} {side}", tooltip=f"The part of {side} for the {which} rows."
                    )
                    for which in ("kept", "rejected")
                    for side in SIDES
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, hold_for_me: bool = False, **_inputs) -> float | bool:
        return never_the_same() if hold_for_me else False  # each run is chosen anew

    @classmethod
    def execute(
        cls,
        latent,
        scores,
        top_k,
        threshold_on,
        threshold,
        unskilled_scores,
        hold_for_me=False,
        hold_seconds=300,
        positive=None,
        negative=None,
    ) -> io.NodeOutput:
        connected = {side for side, given in zip(SIDES, (positive, negative), strict=True) if given is not None}
        scores = replace(scores, per_row=tuple(part for part in scores.per_row if part[0] not in connected))

        def choose(marks: Marks) -> Selection:
            return select(scores, top_k, threshold, threshold_on, unskilled_scores == USE_ANYWAY, marks)

        with named_errors("Early Seed Filter"), open_board() as channel:
            require_rows(scores, len(latent["samples"]))
            choose(channel.marks)  # refuses wrong limits before it waits

            def board() -> Board:
                return filter_board(scores, choose(channel.marks), threshold, threshold_on, channel.marks)

            if hold_for_me:
                channel.hold(hold_seconds, board)
            chosen = choose(channel.marks)
            shown: dict[str, list] = {BOARD_OUTPUT: [HISTORY.add(board().values())]}
            conditioning = dict(zip(SIDES, (positive, negative), strict=True))
            kept_sides, rejected_sides = (
                _conditioning_of(rows, len(scores), conditioning) for rows in (chosen.kept, chosen.dropped)
            )
        nothing = ExecutionBlocker(None)  # silent: a dropped row is a normal result
        kept = (nothing, nothing, nothing)
        if chosen.kept:
            subset = scores.subset(chosen.kept)
            kept = (keep_rows(latent, chosen.kept), seeds_text(subset), subset)
        rejected = keep_rows(latent, chosen.dropped) if chosen.dropped else nothing
        shown |= {"text": [selection_text(chosen, scores)], "diffusion_probe": [selection_report(chosen, scores)]}
        return io.NodeOutput(*kept, rejected, *kept_sides, *rejected_sides, ui=shown)


def _conditioning_of(rows: tuple[int, ...], batch: int, conditioning: dict) -> list:
    """Return each side's conditioning cut to rows: blocked for no rows, with a message if the side is unconnected."""
    controls: dict = {}
    return [
        ExecutionBlocker(None if given is not None else NO_CONDITIONING.format(side))
        if given is None or not rows
        else cut_conditioning(given, rows, batch, controls)
        for side, given in conditioning.items()
    ]


NO_CONDITIONING = (
    "Early Seed Filter: an output for {0} is in use, but nothing is connected to its input {0}. "
    "Connect the conditioning that the first sampler has."
)


NODES = [SeedBatch, EarlySeedFilter]
