"""A graphics card that isn't there: ComfyUI and the pack run on it unchanged, and what it would cost is counted.

Tensors on it keep their values while they are small (sigmas, seeds, first latents), so that control flow is as ever;
what a large model computes has a shape and no values. FLOPs, memory, transfers between host and card, and every wait
of the host for the card are counted. Streams, fragmentation and the time of kernels are not modelled.
"""
