"""One sampler run in ComfyUI: its rows, noise, conditioning, patches, and whether a row can be computed apart."""
