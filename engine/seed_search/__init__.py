"""Seed search: candidates sampled together up to their moments, of which a policy sends the best to the end."""
