"""Explains trials in sentences."""

from search.optimization.explanations.trials import (
    Explanation as Explanation,
    explain as explain,
    explain_finished as explain_finished,
)
