"""Tasks and objectives: what a model predicts, and the validation metric that picks epochs and ranks trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Task = Literal["classification", "regression"]
Loss = Literal["mse", "mae", "huber"]


@dataclass(frozen=True, slots=True)
class Objective:
    """A validation metric that a study optimizes.

    Attributes:
        name: Its name in the study file and, for each epoch, in MLflow: ``val_auc``.
        label: Its name in figures and sentences.
        task: The task that has it; None for both.
        maximize: Whether more is better.
    """

    name: str
    label: str
    task: Task | None
    maximize: bool = True

    @property
    def metric(self) -> str:
        """The metric without its rows: ``auc``."""
        return self.name.removeprefix("val_")

    @property
    def best_key(self) -> str:
        """The name of a run's best value: ``best_val_auc``."""
        return f"best_{self.name}"

    @property
    def spread_key(self) -> str:
        """The name of its standard deviation over folds: ``val_auc_std``."""
        return f"{self.name}_std"

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Optuna's direction."""
        return "maximize" if self.maximize else "minimize"

    @property
    def worst(self) -> float:
        """A value that every value beats."""
        return -self.gain(float("inf"))

    def gain(self, value: float) -> float:
        """The value with the sign that makes more better."""
        return value if self.maximize else -value

    def is_better(self, value: float, other: float) -> bool:
        """Whether a value beats another one."""
        return self.gain(value) > self.gain(other)


OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective("val_accuracy", "validation accuracy", "classification"),
        Objective("val_loss", "validation loss", None, maximize=False),
        Objective("val_balanced_accuracy", "balanced validation accuracy", "classification"),
        Objective("val_macro_f1", "macro F1 of the validation rows", "classification"),
        Objective("val_auc", "validation AUC", "classification"),
        Objective("val_average_precision", "validation average precision", "classification"),
        Objective("val_rmse", "validation RMSE", "regression", maximize=False),
        Objective("val_mae", "validation MAE", "regression", maximize=False),
        Objective("val_r2", "validation R²", "regression"),
    )
}
DEFAULT_OBJECTIVES: dict[Task, str] = {"classification": "val_accuracy", "regression": "val_rmse"}
"""The objective of a study that names none."""
RANK_OBJECTIVES = ("val_auc", "val_average_precision")
"""Objectives that compare rows of a class with rows of other classes."""
TASK_DIMENSIONS: dict[str, Task] = {
    "loss": "regression",
    "class_weight": "classification",
    "label_smoothing": "classification",
}
"""Hyperparameters of one task alone."""

_EPOCH_METRICS: dict[Task, tuple[str, ...]] = {
    "classification": ("loss", "accuracy", "val_loss", "val_accuracy"),
    "regression": ("loss", "val_loss", "val_rmse", "val_mae", "val_r2"),
}


def epoch_metrics(task: Task, objective: str, *, with_folds: bool = False) -> tuple[str, ...]:
    """Names of the metrics of each epoch: those of the task and the objective; with folds its spread over them too."""
    spread = (OBJECTIVES[objective].spread_key,) if with_folds else ()
    return tuple(dict.fromkeys((*_EPOCH_METRICS[task], objective, *spread)))
