"""Prune in Flight: the rejected rows of a batch are not computed any more."""

from comfy_api.latest import io

from ..engine.capture.attach import attach_probe
from ..engine.capture.moments import AUTO
from ..engine.core.seed_list import MOST_SEEDS
from ..engine.selection.pruning import PruneRule
from ..engine.selection.select import OFF, THRESHOLDS, check_limits
from .errors import named_errors
from .seeds import KEEP_ALL, USE_ANYWAY
from .types import Probe


class PruneInFlight(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbePruneInFlight",
            display_name="Prune in Flight",
            category="diffusion probe/seeds",
            description="Scores the rows of a batch inside any sampler, early in the run, and stops computing the "
            "rejected ones. The rows that stay end as they would have in the whole batch.",
            search_aliases=["early stopping", "prune seeds", "top k", "skip bad seeds", "diffusion probe"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The model to sample: any that makes images for Preview Reward; FLUX, SDXL, SD1.5, "
                    "SD3.5, Qwen-Image and others for probes of attention (see the help). LoRA may come before.",
                ),
                Probe.Input("probe", tooltip="What scores the rows: Attention Focus, Preview Reward or Load Probe."),
                io.String.Input(
                    "moment",
                    default=AUTO,
                    tooltip="When rows are dropped. 20% is the last step above 20 % of the noise range; step 5 is the "
                    "fifth model evaluation. auto: 20 %, or the second step of runs of up to 8 steps.",
                ),
                io.Int.Input(
                    "top_k", default=4, min=0, max=MOST_SEEDS, tooltip="At most this many rows stay. 0: no limit."
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
            ],
            outputs=[
                io.Model.Output(
                    display_name="model",
                    tooltip="Connect it to one sampler that runs all steps, and to Probe Score. Early Seed Filter "
                    "takes the dropped rows out.",
                )
            ],
        )

    @classmethod
    def execute(cls, model, probe, moment, top_k, threshold_on, threshold, unskilled_scores) -> io.NodeOutput:
        with named_errors("Prune in Flight"):
            check_limits(top_k, threshold, threshold_on)
            rule = PruneRule(top_k, threshold, threshold_on, unskilled_scores == USE_ANYWAY)
            return io.NodeOutput(attach_probe(model, probe, moment, rule))


NODES = [PruneInFlight]
