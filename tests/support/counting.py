"""Counting what the diffusion model computes, from the inside of every cache."""

from comfy.patcher_extension import WrappersMP


class EvaluationCounter:
    """The number of evaluations in which the diffusion model really ran, whatever skips the others."""

    def __init__(self):
        self.computed = 0
        self._ran = False

    def on(self, model):
        """Return a clone of the MODEL that is counted: the innermost wrapper sees what every cache lets through."""
        model = model.clone()
        model.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "evaluation_counter", self._evaluation)
        model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "evaluation_counter", self._model)
        return model

    def _evaluation(self, executor, *args, **kwargs):
        self._ran = False
        result = executor(*args, **kwargs)
        self.computed += self._ran
        return result

    def _model(self, executor, *args, **kwargs):
        self._ran = True
        return executor(*args, **kwargs)
