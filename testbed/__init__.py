"""Shapes: small models of real architectures, trained at a desk on rendered scenes, with ground truth.

Imported twice over: as ``diffusion_probe.testbed`` by everything, and as ``testbed`` by
``python -m testbed``, so this file imports nothing.
"""
