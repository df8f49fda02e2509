"""Recording, training, and the statistics by which every probe is judged."""
