"""Seed search: many seeds start together, a policy decides on a probe's scores which are finished."""
