"""Sampler runs in ComfyUI: their rows, noise, conditioning and patches, and whether a row can be computed alone."""
