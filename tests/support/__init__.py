"""Helpers that several tests use: models, probes, runs, servers, datasets and hostile inputs."""
