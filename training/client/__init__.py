"""What talks to a ComfyUI server, or imports the pack without one."""
