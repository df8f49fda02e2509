"""Code that runs inside of ComfyUI's samplers and selects seeds."""
