"""Reward models: how good a finished image is by human preference, as one number per image."""
