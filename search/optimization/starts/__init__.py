"""Configurations that a study tries first: those of earlier studies, the learned ones, and how many a budget takes."""

from search.optimization.starts.effects import require_fit_starts
from search.optimization.starts.settle import settle_starts
