"""The only code that touches ComfyUI's model patcher, wrappers and samplers."""
