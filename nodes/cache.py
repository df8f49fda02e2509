"""TC-Padé Cache: predict some of a run's evaluations instead of computing them."""

from comfy_api.latest import io

from ..engine.board.address import text_of_running_node
from ..engine.step_cache.config import INTERVALS, SPACES, StepCacheConfig
from ..engine.step_cache.hook import apply_step_cache
from ..engine.step_cache.predict import PREDICTORS
from .errors import named_errors

CUSTOM = "custom"
PHASES = {"off": None, "linear early": "linear", "reuse early": "reuse"}
DEFAULTS = StepCacheConfig()


class TCPadeCache(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiffusionProbeTCPadeCache",
            display_name="TC-Padé Cache",
            category="diffusion probe",
            description="Computes the model at some steps and predicts its output at the others. Faster, with an image "
            "close to the one without it. For deterministic samplers.",
            search_aliases=[
                "cache",
                "speed up",
                "faster",
                "step cache",
                "teacache",
                "taylorseer",
                "easycache",
                "diffusion probe",
            ],
            inputs=[
                io.Model.Input("model", tooltip="The model to speed up, of any family, with or without LoRA."),
                io.Combo.Input(
                    "preset",
                    options=[*INTERVALS, CUSTOM],
                    default="balanced",
                    tooltip='After the first steps, "quality" computes every 2nd, "balanced" 3rd, "fast" 4th, '
                    '"fastest" 6th; "custom": by interval.',
                ),
                io.Combo.Input(
                    "predictor",
                    options=list(PREDICTORS),
                    default=DEFAULTS.predictor,
                    advanced=True,
                    tooltip='"reuse" repeats the last step; "linear" continues a line, "newton2" a parabola, "pade11" '
                    "a rational curve.",
                ),
                io.Int.Input(
                    "interval",
                    default=DEFAULTS.interval,
                    min=1,
                    max=100,
                    advanced=True,
                    tooltip='For the preset "custom": one of this many steps is computed. 1: all.',
                ),
                io.Float.Input(
                    "start",
                    default=DEFAULTS.start,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    advanced=True,
                    tooltip="All steps up to this fraction of the run are computed, at least 3. Keeps the composition.",
                ),
                io.Float.Input(
                    "end",
                    default=DEFAULTS.end,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    advanced=True,
                    tooltip="All steps from this fraction of the run on are computed. The last one always is.",
                ),
                io.Combo.Input(
                    "phases",
                    options=list(PHASES),
                    default="off",
                    advanced=True,
                    tooltip="Another predictor for the first 30 % of the steps, where the path bends most.",
                ),
                io.Float.Input(
                    "beta",
                    default=DEFAULTS.beta,
                    min=-1.0,
                    max=1.0,
                    step=0.05,
                    advanced=True,
                    tooltip="In the last 20 % of the steps this share of the last change is added. 0: none.",
                ),
                io.Float.Input(
                    "trust",
                    default=DEFAULTS.trust,
                    min=0.0,
                    max=3.0,
                    step=0.05,
                    advanced=True,
                    tooltip="How far a prediction may go, as a multiple of the straight line. Less damps outliers.",
                ),
                io.Float.Input(
                    "damping",
                    default=DEFAULTS.damping,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    advanced=True,
                    tooltip="Shortens predictions where the output changes fast (λ in the paper). 0: off.",
                ),
                io.Float.Input(
                    "veto",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    advanced=True,
                    tooltip="Computes a step after all if the path just turned by more than this. 1: never.",
                ),
                io.Combo.Input(
                    "space",
                    options=list(SPACES),
                    default=DEFAULTS.space,
                    advanced=True,
                    tooltip='Predict the "output" of the model, or what FLUX\'s "blocks" add, which takes more memory.',
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model with the cache. Connect it to the sampler.")
            ],
        )

    @classmethod
    def execute(
        cls, model, preset, predictor, interval, start, end, phases, beta, trust, damping, veto, space
    ) -> io.NodeOutput:
        with named_errors("TC-Padé Cache"):
            config = StepCacheConfig(
                interval=INTERVALS.get(preset, interval),
                predictor=predictor,
                start=start,
                end=end,
                early=PHASES[phases],
                beta=beta,
                trust=trust,
                damping=damping,
                veto=veto if veto < 1 else None,
                space=space,
            )
            return io.NodeOutput(apply_step_cache(model, config, text_of_running_node()))


NODES = [TCPadeCache]
