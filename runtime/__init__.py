"""The ComfyUI that the pack is developed against: set-up, in-process use, the real server."""
