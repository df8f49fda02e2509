"""Training of probes on a dataset: recipes, losses, optimisers, checkpoints, and the fields of a probe's card."""
