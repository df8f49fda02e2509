"""The model as a batching server for many stock sampler runs, each in a greenlet of its own."""
