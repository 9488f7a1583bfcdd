"""Figures of one model: its confusion matrix, its predictions and its data."""

from pipelines.evaluation.figures.charts import (
    class_probabilities,
    confusion_matrix,
    example_grid,
    predicted_value,
    prediction_grid,
    residuals,
    save,
    to_png,
)
from pipelines.evaluation.figures.drawing import pick_examples
