"""Datasets of recorded runs: written, read, checked, labelled and put into batches."""
