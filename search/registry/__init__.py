"""The gate and the model registry."""
