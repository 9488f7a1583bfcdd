"""Sends runs to MLflow in the background and keeps them on disk until they arrive."""
