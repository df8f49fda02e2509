"""``python -m training record …`` from the repository's root."""

from runtime import loader

loader.use_comfy()

from diffusion_probe.training import command  # noqa: E402  (after the loader)

command.main()
