"""Client of a ComfyUI server that records workflows, and the import of the pack outside of a server."""
