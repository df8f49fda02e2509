"""Prompt Gate: go on, take another way, or stop."""

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..engine.selection.gate import BEST, GATE_THRESHOLDS, ROWS, Decision, decide
from ..engine.selection.report import gate_report, gate_text
from ..engine.selection.select import RAW
from .errors import named_errors
from .types import Scores

PASS, USE_ANYWAY = "pass", "use anyway"
UNCONNECTED = object()
"""Not None: that is what a connected input has before it was run."""


class PromptGate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        branch = io.MatchType.Template("branch")
        return io.Schema(
            node_id="DiffusionProbePromptGate",
            display_name="Prompt Gate",
            category="diffusion probe/probes",
            description="Runs one of two branches, by an early score: passing when the score reaches the threshold, "
            "else otherwise, for example the same with a rewritten prompt. The branch not taken is never run.",
            search_aliases=["prompt rewrite", "conditional branch", "early stop", "switch", "diffusion probe"],
            has_intermediate_output=True,
            inputs=[
                Scores.Input("scores", tooltip="From Probe Score, or kept_scores of Early Seed Filter."),
                io.MatchType.Input(
                    "passing",
                    template=branch,
                    lazy=True,
                    tooltip="What goes on when the score reaches the threshold: anything. Only then is it run.",
                ),
                io.MatchType.Input(
                    "otherwise",
                    template=branch,
                    lazy=True,
                    optional=True,
                    tooltip="What goes on when it does not, of the same type. None: what is behind is skipped.",
                ),
                io.Combo.Input(
                    "rows",
                    options=list(ROWS),
                    default=BEST,
                    tooltip="Which row of the batch counts. The mean says how the prompt does over several seeds.",
                ),
                io.Combo.Input(
                    "threshold_on",
                    options=list(GATE_THRESHOLDS),
                    default=RAW,
                    tooltip="What the threshold is compared with. Percentile of calibration needs a trained probe. "
                    "Percentile in batch says how many of the other rows the first row beats.",
                ),
                io.Float.Input(
                    "threshold",
                    default=0.5,
                    min=-1e6,
                    max=1e6,
                    step=0.01,
                    round=False,
                    tooltip="The least that passes. Percentiles go from 0 to 100.",
                ),
                io.Combo.Input(
                    "unskilled_scores",
                    options=[PASS, USE_ANYWAY],
                    default=PASS,
                    advanced=True,
                    tooltip="A score that was not measured to pick better seeds than full images at the same cost do "
                    "lets everything pass, unless this says use anyway.",
                ),
            ],
            outputs=[
                io.MatchType.Output(
                    template=branch, display_name="taken", tooltip="Passing or otherwise. Neither: skipped."
                ),
                io.Boolean.Output(display_name="passed", tooltip="Whether the score reached the threshold."),
                io.Float.Output(display_name="score", tooltip="The score that counted, as the probe gave it."),
            ],
        )

    @classmethod
    def check_lazy_status(cls, passing=UNCONNECTED, otherwise=UNCONNECTED, **settings) -> list[str]:
        if _decide(**settings).passed:
            return ["passing"]
        return [] if otherwise is UNCONNECTED else ["otherwise"]

    @classmethod
    def execute(cls, passing, otherwise=UNCONNECTED, **settings) -> io.NodeOutput:
        decision = _decide(**settings)
        blocked = not decision.passed and otherwise is UNCONNECTED
        taken = passing if decision.passed else otherwise
        shown = {"text": [gate_text(decision, blocked)], "diffusion_probe": [gate_report(decision, blocked)]}
        # Silent: a prompt that doesn't pass is a normal result.
        return io.NodeOutput(ExecutionBlocker(None) if blocked else taken, decision.passed, decision.score, ui=shown)


def _decide(scores, rows: str, threshold_on: str, threshold: float, unskilled_scores: str) -> Decision:
    with named_errors("Prompt Gate"):
        return decide(scores, threshold, threshold_on, rows, unskilled_scores == USE_ANYWAY)


NODES = [PromptGate]
