"""Reward models: what people would say of a finished image, as one number per image."""
