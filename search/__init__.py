"""What to train next, where, and what was learned: an Optuna study over Keras MLPs, tracked by MLflow."""
