"""Runs jobs in a pool, and studies: asks Optuna for trials, prunes them, persists their results, and recovers."""

from search.scheduling.progress import Observer, Progress
