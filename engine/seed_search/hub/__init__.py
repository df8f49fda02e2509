"""Batching server for many stock sampler runs of one model, each in a greenlet of its own."""
