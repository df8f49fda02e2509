"""TC-Padé Cache: predicts the model's output on part of a run's evaluations from those computed."""
