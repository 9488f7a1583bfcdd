"""The evaluation of a model: metrics, tests, predictions and figures."""

ALPHA = 0.05
"""Significance level of every test: finalists, and the gate unless it is given another."""
CONFIDENCE = 0.95
"""Of every interval."""
