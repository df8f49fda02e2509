"""Capture of the features that a probe needs, during a sampler run, and their records by row of its latent."""
