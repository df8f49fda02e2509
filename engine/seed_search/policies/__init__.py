"""Policies of a seed search: pure functions from scores to the candidates that continue."""
