"""Probes: they turn features into scores, and import torch, numpy and safetensors only."""
