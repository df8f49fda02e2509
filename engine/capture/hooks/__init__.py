"""Hooks that capture attention and activations in the model's calls without changing the calls."""
