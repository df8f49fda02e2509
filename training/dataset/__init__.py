"""Recorded runs on disk: how they are written, read, checked and put into batches."""
