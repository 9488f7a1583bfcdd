"""The code that MLflow runs of a promoted model: raw rows in, class probabilities or values out.

MLflow copies this file and the package ``pipelines``, under a name of its own, into the model and runs them from
there, so that it can be served where this project is not installed. Nothing is unpickled.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext


class ServedModel(PythonModel):  # type: ignore[misc]  # MLflow's classes are untyped here
    """An MLP with its preprocessing."""

    def load_context(self, context: PythonModelContext) -> None:
        """Loads the model file, whose hash must be the recorded one; Keras's safe mode stays on."""
        # Here, not above: MLflow also runs this file while it saves the model, and the package is not on the path then.
        from pipelines.evaluation.predictor import ModelRecord, Predictor

        record = ModelRecord.from_json(Path(context.artifacts["record"]).read_text())
        self._predictor = Predictor.load(Path(context.artifacts["model"]).read_bytes(), record)

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, object] | None = None
    ) -> np.ndarray:
        """(n_rows, *input_shape) numbers, or the rows of a table as a frame, to (n_rows, n_classes) float32.

        A regression gives (n_rows, 1) values in the target's own unit.
        """
        return self._predictor.probabilities(model_input)


set_model(ServedModel())
