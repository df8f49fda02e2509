"""Training of the testbed's models on rendered scenes."""
