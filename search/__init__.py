"""Which candidate goes on: pure functions over scores, no torch."""
