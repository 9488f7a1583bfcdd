"""Small tables of two classes, written to a file and read as a dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.config import DataConfig
from pipelines.data import loading
from pipelines.data.datasets import Dataset

N_ROWS = 240


RNG = np.random.default_rng(0)


PRICES = RNG.uniform(1000, 9000, N_ROWS).round(2)


TARGET = np.arange(N_ROWS) % 2


def load(frame: pd.DataFrame, path: Path, **settings: object) -> Dataset:
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return loading.load(replace(DataConfig(str(path)), **settings))


def table(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({**columns, "noise": RNG.normal(size=N_ROWS), "target": TARGET})


def kinds(dataset: Dataset) -> dict[str, str]:
    return {column.name: column.kind for column in dataset.preprocessing.columns.columns}
