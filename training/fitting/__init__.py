"""Training a probe on a dataset: networks' losses, optimisers, checkpoints, and what its file says of it."""
