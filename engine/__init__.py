"""Parts of the pack that run inside of ComfyUI's sampler and decide which seeds go on."""
