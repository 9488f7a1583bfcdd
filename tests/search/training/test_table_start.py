"""The configuration that the study of a table starts with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.config import DataConfig
from pipelines.data.loading import load
from pipelines.training.training import Training, TrainingRows
from search.spec import default_spec


def test_the_first_start_of_a_small_table_learns_a_threshold_in_a_skewed_column(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    prices = rng.lognormal(6, 1.2, 240).round(2)
    frame = pd.DataFrame({"price": prices, "noise": rng.normal(size=240), "target": prices > np.median(prices)})
    frame.to_csv(tmp_path / "own.csv", index=False)

    first, *others = default_spec(str(tmp_path / "own.csv")).start
    training = Training(TrainingRows.of(load(DataConfig(str(tmp_path / "own.csv")))), first, seed=0)
    for _ in training:
        pass
    assert training.results[0].best_value >= 0.95
    assert first not in others
