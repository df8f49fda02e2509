"""What runs inside of ComfyUI's sampler and decides which seeds go on."""
