"""Prune in Flight: stop computing the dropped rows of a batch during its run."""

from comfy_api.latest import io

from ..engine.capture.attach import attach_probe
from ..engine.selection.pruning import PruneRule
from ..engine.selection.select import check_limits
from .errors import named_errors
from .sockets import USE_ANYWAY, attached_model_input, row_limit_inputs, scoring_probe_input, when_input


class PruneInFlight(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbePruneInFlight",
            display_name="Prune in Flight",
            category="diffusion probe/construction kit",
            description="Scores the rows of a batch inside any sampler, early in the run, and stops computing the "
            "dropped ones. The rows that are kept end as they would in the whole batch.",
            search_aliases=["early stopping", "prune seeds", "top k", "skip bad seeds", "diffusion probe"],
            inputs=[
                attached_model_input("sample"),
                scoring_probe_input(),
                when_input("moment", "When to drop rows"),
                *row_limit_inputs(),
            ],
            outputs=[
                io.Model.Output(
                    display_name="model",
                    tooltip="Connect it to one sampler that runs all steps and to Probe Score. Early Seed Filter "
                    "removes dropped rows.",
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
