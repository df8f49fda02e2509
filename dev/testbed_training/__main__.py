"""Command ``python -m dev.testbed_training``, from the repository's root."""

from training.client import loader

loader.use_comfy()

from diffusion_probe.dev.testbed_training import train  # noqa: E402  (after the loader)

train.main()
