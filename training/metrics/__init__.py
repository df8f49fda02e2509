"""The statistics by which every probe is judged."""
