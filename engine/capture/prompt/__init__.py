"""Which text positions each word of a prompt has, for every text encoder."""
