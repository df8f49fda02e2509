"""Recording on several ComfyUI servers at once, into one dataset."""
