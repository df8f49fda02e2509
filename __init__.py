"""Diffusion Probe: early seed and prompt selection for ComfyUI."""

from .engine.core.supported import installed_comfyui, warn_where_nodes_are_not_asked_for, why_too_old

WEB_DIRECTORY = "./web"

warn_where_nodes_are_not_asked_for()


async def comfy_entrypoint():
    too_old = why_too_old(installed_comfyui())
    if too_old is not None:  # before the nodes are imported, which need what old versions lack
        raise RuntimeError(f"{too_old}: update ComfyUI.")
    from .nodes import DiffusionProbeExtension

    return DiffusionProbeExtension()
