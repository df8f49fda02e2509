"""ComfyUI's modules in process, and fixtures of the tests that need them."""

from training.client import loader

loader.use_comfy()

from support.comfy_fixtures import (  # noqa: E402, F401
    flux,
    ksampler,
    nothing_dead_stays_loaded,
    probe,
    reward_models,
    row_counts,
    small_model,
    temp_folder,
)
