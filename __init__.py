"""Diffusion Probe: early seed and prompt selection for ComfyUI."""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    from .nodes import DiffusionProbeExtension

    return DiffusionProbeExtension()
