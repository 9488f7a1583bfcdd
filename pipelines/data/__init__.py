"""From arrays to a Dataset: splits, encoders, scaling, and the held-out test rows."""
