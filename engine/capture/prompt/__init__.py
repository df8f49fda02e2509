"""Text positions of each word of a prompt, for every text encoder."""
