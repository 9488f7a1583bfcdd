"""The contribution of each row to a metric, and the predictions that are stored to compute it later."""

from pipelines.evaluation.contributions.predictions import Predictions
from pipelines.evaluation.contributions.row_parts import Parts, contributions, cross_entropies, parts
