"""The contribution of each row to a metric, and the predictions that are stored to compute it later."""

from pipelines.evaluation.contributions.predictions import Predictions as Predictions
from pipelines.evaluation.contributions.row_parts import (
    Parts as Parts,
    contributions as contributions,
    cross_entropies as cross_entropies,
    parts as parts,
)
