"""The model's attention and activations, taken from its calls without changing them."""
