"""Statistics by which every probe is measured."""
