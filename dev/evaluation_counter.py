"""Counter of the evaluations that the diffusion model really computes, seen from the inside of every cache."""

from typing import Any

from comfy.patcher_extension import WrappersMP


class EvaluationCounter:
    """Counter of evaluations in which the diffusion model really ran, whatever cache skips the others.

    Attributes:
        computed: their number so far.
    """

    def __init__(self) -> None:
        self.computed = 0
        self._ran = False

    def on(self, model: Any) -> Any:
        """Return a clone of the MODEL that is counted: the innermost wrapper sees what every cache lets through."""
        model = model.clone()
        model.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "evaluation_counter", self._evaluation)
        model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "evaluation_counter", self._model)
        return model

    def compute(self, executor, *args, **kwargs):
        """Compute what a call of the diffusion model gives. Subclasses may know it already."""
        return executor(*args, **kwargs)

    def _evaluation(self, executor, *args, **kwargs):
        self._ran = False
        result = executor(*args, **kwargs)
        self.computed += self._ran
        return result

    def _model(self, executor, *args, **kwargs):
        self._ran = True
        return self.compute(executor, *args, **kwargs)
