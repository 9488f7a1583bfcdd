"""Evaluation, compiled where there are many values and not where there are few."""

from __future__ import annotations

from typing import Any

import pytest
from keras_counterpart import tiny_dataset

from pipelines.config import Hyperparameters
from pipelines.training import validation
from pipelines.training.rows import TrainingRows
from pipelines.training.training import Training


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
@pytest.mark.parametrize("more", [{}, {"activation": "silu", "normalization": "batch"}])
def test_the_metrics_are_the_same_compiled_and_not(
    seeds: list[int], more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = TrainingRows.of(tiny_dataset())
    hp = Hyperparameters(16, 2, 0.0, "adam", 0.01, "constant", 2, 64, **more)
    found = []
    for few in (0, 1 << 40):
        monkeypatch.setattr(validation, "_FEW_VALUES", few)
        monkeypatch.setattr(validation, "_FEW_ROWS", few)
        training = Training(rows, hp, seeds)
        list(training)
        found.append([result.report.metrics for result in training.results if result.report])
    compiled, plain = found
    assert len(compiled) == len(seeds)
    for one, other in zip(compiled, plain, strict=True):
        assert other == pytest.approx(one, abs=1e-6)
