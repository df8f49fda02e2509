"""TC-Padé Cache: predict part of a run's model evaluations."""

from comfy_api.latest import io

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
            category="diffusion probe/speed",
            description="Computes the model on part of the steps and predicts it on the others from those computed. "
            "Faster, and close to the image without it. For deterministic samplers.",
            search_aliases=["step cache", "teacache", "taylorseer", "easycache", "speed up", "diffusion probe"],
            inputs=[
                io.Model.Input("model", tooltip="The model to speed up, of any family. LoRA may come before."),
                io.Combo.Input(
                    "preset",
                    options=[*INTERVALS, CUSTOM],
                    default="balanced",
                    tooltip="How many steps are computed after the first few: quality every 2nd, balanced every 3rd, "
                    "fast every 4th, custom as interval says.",
                ),
                io.Combo.Input(
                    "predictor",
                    options=list(PREDICTORS),
                    default=DEFAULTS.predictor,
                    advanced=True,
                    tooltip="How a step is predicted. reuse repeats the last one; linear follows the line through two, "
                    "newton2 the parabola through three, pade11 a rational curve through three.",
                ),
                io.Int.Input(
                    "interval",
                    default=DEFAULTS.interval,
                    min=1,
                    max=100,
                    advanced=True,
                    tooltip="For the preset custom: of this many steps one is computed. 1 computes all.",
                ),
                io.Float.Input(
                    "start",
                    default=DEFAULTS.start,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    advanced=True,
                    tooltip="Fraction of the steps that are all computed first, never fewer than 3. More keeps the "
                    "composition closer.",
                ),
                io.Float.Input(
                    "end",
                    default=DEFAULTS.end,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    advanced=True,
                    tooltip="Fraction of the steps from which all are computed again. The last one always is.",
                ),
                io.Combo.Input(
                    "phases",
                    options=list(PHASES),
                    default="off",
                    advanced=True,
                    tooltip="Another predictor in the first 30 % of the steps, where the path bends most.",
                ),
                io.Float.Input(
                    "beta",
                    default=DEFAULTS.beta,
                    min=-1.0,
                    max=1.0,
                    step=0.05,
                    advanced=True,
                    tooltip="In the last 20 % of the steps: this share of the last change is added. 0 adds nothing.",
                ),
                io.Float.Input(
                    "trust",
                    default=DEFAULTS.trust,
                    min=0.0,
                    max=3.0,
                    step=0.05,
                    advanced=True,
                    tooltip="A prediction goes at most this many times as far as the straight line would. "
                    "Less damps outliers.",
                ),
                io.Float.Input(
                    "damping",
                    default=DEFAULTS.damping,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    advanced=True,
                    tooltip="Shortens predictions where the output changes fast (λ). 0 does not.",
                ),
                io.Float.Input(
                    "veto",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    advanced=True,
                    tooltip="A step is computed after all if the path has just turned by more than this "
                    "(0 straight on, 1 turned round). 1 never.",
                ),
                io.Combo.Input(
                    "space",
                    options=list(SPACES),
                    default=DEFAULTS.space,
                    advanced=True,
                    tooltip="What is predicted: the model's output, or what FLUX's blocks add (as published; "
                    "needs more memory).",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with the cache, for the sampler.")],
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
            return io.NodeOutput(apply_step_cache(model, config))


NODES = [TCPadeCache]
