"""``python -m testbed train …`` from the repository's root."""

from runtime import loader

loader.use_comfy()

from diffusion_probe.testbed import train  # noqa: E402  (after the loader)

train.main()
