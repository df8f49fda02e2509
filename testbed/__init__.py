"""Testbed: small models of real architectures, trained on a desktop computer on rendered scenes, with ground truth."""
