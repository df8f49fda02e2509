"""Features in, scores out. Imports torch, numpy and safetensors only."""
