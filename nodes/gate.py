"""Prompt Gate: run one of two branches, or none, by an early score."""

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..engine.selection.gate import BEST, GATE_THRESHOLDS, ROWS, Decision, decide
from ..engine.selection.report import gate_report, gate_text
from ..engine.selection.select import RAW
from .errors import named_errors
from .sockets import USE_ANYWAY, Scores, threshold_inputs, use_anyway_input

PASS = "pass"
UNCONNECTED = object()
"""The value of an unconnected input. None is that of a connected one before its node was run."""


class PromptGate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        branch = io.MatchType.Template("branch")
        return io.Schema(
            node_id="DiffusionProbePromptGate",
            display_name="Prompt Gate",
            category="diffusion probe/construction kit",
            description='Runs one of two branches by an early score: "passing" if the score reaches the threshold, '
            'else "otherwise", for example the same with a rewritten prompt. The other branch is never run.',
            search_aliases=["prompt rewrite", "conditional branch", "early stop", "switch", "diffusion probe"],
            has_intermediate_output=True,
            inputs=[
                Scores.Input("scores", tooltip='The scores of Probe Score, or "kept_scores" of Early Seed Filter.'),
                io.MatchType.Input(
                    "passing",
                    template=branch,
                    lazy=True,
                    tooltip="Anything: the output if the score reaches the threshold. It is run only then.",
                ),
                io.MatchType.Input(
                    "otherwise",
                    template=branch,
                    lazy=True,
                    optional=True,
                    tooltip="The output if it does not, of the same type. Unconnected: the nodes behind are skipped.",
                ),
                io.Combo.Input(
                    "rows",
                    options=list(ROWS),
                    default=BEST,
                    tooltip="The row of the batch that decides. The mean tells how well the prompt does on average.",
                ),
                *threshold_inputs(
                    GATE_THRESHOLDS,
                    RAW,
                    "The score, its percentile among a trained probe's scores, or the share of rows that row 0 beats.",
                    "The lowest value that passes. Percentiles go from 0 to 100.",
                ),
                use_anyway_input(PASS, "always passes"),
            ],
            outputs=[
                io.MatchType.Output(
                    template=branch, display_name="taken", tooltip='"passing" or "otherwise". Neither: skipped.'
                ),
                io.Boolean.Output(display_name="passed", tooltip="Whether the score reached the threshold."),
                io.Float.Output(display_name="score", tooltip="The score that decided, in the probe's unit."),
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
