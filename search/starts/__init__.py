"""Configurations that a study tries first: those of earlier studies, the learned ones, and how many a budget takes."""

from search.starts.settle import settle_starts as settle_starts
