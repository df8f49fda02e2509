"""Diffusion Probe: early seed and prompt selection for ComfyUI."""

from .engine.core.supported import installed_comfyui, warn_without_entrypoint, why_too_old

WEB_DIRECTORY = "./web"

warn_without_entrypoint()


async def comfy_entrypoint():
    too_old = why_too_old(installed_comfyui())
    if too_old is not None:  # before the nodes are imported, which need what old versions lack
        raise RuntimeError(f"{too_old}: update ComfyUI.")
    from .nodes import DiffusionProbeExtension

    return DiffusionProbeExtension()
