"""Explains trials in sentences."""

from search.optimization.explanations.trials import Explanation, explain, explain_finished
