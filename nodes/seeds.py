"""Seed Batch and Early Seed Filter: many seeds go in, the promising ones go on."""

from dataclasses import replace

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..engine.board.channel import open_board
from ..engine.board.schema import BOARD_OUTPUT, Board
from ..engine.board.values import filter_board
from ..engine.core.marks import Marks
from ..engine.core.seed_list import LARGEST_SEED, MOST_SEEDS, seed_list
from ..engine.runs.conditioning import cut_conditioning
from ..engine.runs.latents import keep_rows
from ..engine.runs.seeds import SeedBatchNoise, use_seeds
from ..engine.selection.report import SIDES, seeds_text, selection_report, selection_text
from ..engine.selection.select import OFF, THRESHOLDS, Selection, require_rows, select
from .errors import named_errors
from .types import Scores, hold_inputs

KEEP_ALL, USE_ANYWAY = "keep all", "use anyway"


class SeedBatch(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeSeedBatch",
            display_name="Seed Batch",
            category="diffusion probe/seeds",
            description="One seed per row of a batch: row i starts from exactly the noise that a single run of its "
            "seed starts from.",
            search_aliases=["multiple seeds", "seed list", "batch seeds", "random noise batch", "diffusion probe"],
            inputs=[
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="Only for KSampler and KSampler Advanced: the model whose runs start from these seeds.",
                ),
                io.Int.Input(
                    "first_seed",
                    default=0,
                    min=0,
                    max=LARGEST_SEED,
                    control_after_generate=True,
                    tooltip="The first seed; the others follow one by one. Not used when the list has seeds.",
                ),
                io.Int.Input(
                    "count",
                    default=16,
                    min=1,
                    max=MOST_SEEDS,
                    tooltip="How many seeds. Not used when the list has seeds.",
                ),
                io.String.Input(
                    "seeds",
                    default="",
                    multiline=True,
                    optional=True,
                    placeholder="or a list of seeds: 7, 8, 42",
                    tooltip="Seeds of your own, separated by commas, spaces or lines. Empty: first seed and count.",
                ),
            ],
            outputs=[
                io.Noise.Output(display_name="noise", tooltip="For SamplerCustomAdvanced."),
                io.Model.Output(
                    display_name="model",
                    tooltip="For KSampler and KSampler Advanced: their noise is replaced by that of the seeds.",
                ),
                io.String.Output(display_name="seeds", tooltip="The seeds as text, in row order."),
                io.Int.Output(display_name="count", tooltip="How many there are: connect to batch_size of the latent."),
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
            category="diffusion probe/seeds",
            description="Lets the best rows of a half-sampled batch go on. What is connected to an output without rows "
            "is skipped, and the run still succeeds.",
            search_aliases=["prune seeds", "top k", "select seeds", "cherry pick", "gate", "diffusion probe"],
            has_intermediate_output=True,
            inputs=[
                io.Latent.Input("latent", tooltip="The latent that Probe Score scored."),
                Scores.Input("scores", tooltip="Its scores, from Probe Score."),
                io.Int.Input(
                    "top_k", default=4, min=0, max=MOST_SEEDS, tooltip="At most this many rows go on. 0: no limit."
                ),
                io.Combo.Input(
                    "threshold_on",
                    options=list(THRESHOLDS),
                    default=OFF,
                    tooltip="What the threshold is compared with. Percentile in batch is a row's rank among the rows "
                    "of this batch: the best has 100, the worst 0. It says nothing about other batches.",
                ),
                io.Float.Input(
                    "threshold",
                    default=0.5,
                    min=-1e6,
                    max=1e6,
                    step=0.01,
                    round=False,
                    tooltip="Rows below it are dropped. Not used when threshold on is off.",
                ),
                io.Combo.Input(
                    "unskilled_scores",
                    options=[KEEP_ALL, USE_ANYWAY],
                    default=KEEP_ALL,
                    advanced=True,
                    tooltip="A score that was not measured to pick better seeds than full images at the same cost do "
                    "drops nothing, unless this says use anyway.",
                ),
                *hold_inputs(),
                *(
                    io.Conditioning.Input(
                        side,
                        optional=True,
                        tooltip=f"The {side} conditioning of the first sampler. Needed where each row has a prompt, a "
                        f"mask or a picture of its own: connect kept {side} to the second sampler.",
                    )
                    for side in SIDES
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="kept", tooltip="The rows that go on, in their order. Empty: skipped."),
                io.String.Output(display_name="kept_seeds", tooltip="Their seeds as text, as Seed Batch takes them."),
                Scores.Output(display_name="kept_scores", tooltip="Their scores."),
                io.Latent.Output(display_name="rejected", tooltip="All other rows. None rejected: skipped."),
                *(
                    io.Conditioning.Output(
                        display_name=f"{which} {side}", tooltip=f"What of {side} belongs to the {which} rows."
                    )
                    for which in ("kept", "rejected")
                    for side in SIDES
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, hold_for_me: bool = False, **_inputs) -> float | bool:
        return float("nan") if hold_for_me else False  # never what was chosen last time

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
            choose(channel.marks)  # before it waits, say what is wrong with the limits

            def board() -> Board:
                return filter_board(scores, choose(channel.marks), threshold, threshold_on, channel.marks)

            if hold_for_me:
                channel.hold(hold_seconds, board)
            chosen, shown = choose(channel.marks), {BOARD_OUTPUT: [board().values()]}
            conditioning = dict(zip(SIDES, (positive, negative), strict=True))
            kept_sides, rejected_sides = (
                _conditioning_of(rows, len(scores), conditioning) for rows in (chosen.kept, chosen.dropped)
            )
        nothing = ExecutionBlocker(None)  # silent: a rejected seed is a normal result
        kept = (nothing, nothing, nothing)
        if chosen.kept:
            subset = scores.subset(chosen.kept)
            kept = (keep_rows(latent, chosen.kept), seeds_text(subset), subset)
        rejected = keep_rows(latent, chosen.dropped) if chosen.dropped else nothing
        shown |= {"text": [selection_text(chosen, scores)], "diffusion_probe": [selection_report(chosen, scores)]}
        return io.NodeOutput(*kept, rejected, *kept_sides, *rejected_sides, ui=shown)


def _conditioning_of(rows: tuple[int, ...], batch: int, conditioning: dict) -> list:
    """What of each side belongs to some rows; nothing for no rows, and a message where nothing is connected."""
    controls = {}
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
