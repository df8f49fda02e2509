"""Policies of a seed search: pure functions of the scores seen so far. No torch."""
