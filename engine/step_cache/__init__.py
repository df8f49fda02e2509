"""Step cache (TC-Padé): predicts the model's output in some evaluations of a run from those that were computed."""
