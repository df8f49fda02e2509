"""Features of a sampler run, captured while it goes on, and kept for each row of its latent."""
