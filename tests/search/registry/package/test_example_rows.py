"""The example of a registered model is training rows, found in a large file without holding all of its rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.config import DataConfig
from pipelines.data.loading import load
from pipelines.files.tables import large, parquet_files
from search.registry.package.example_rows import example_rows


def test_examples_are_the_training_rows_of_a_small_and_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    n_rows, rng = 200, np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.integers(0, 2**20, n_rows), "day": pd.date_range("2020-01-01", periods=n_rows).date})
    frame["word"], frame["target"] = np.where(frame["x"] % 2, "a", None), rng.integers(0, 2, n_rows)
    frame.to_parquet(path := tmp_path / "own.parquet", row_group_size=70)
    config = DataConfig(str(path))
    dataset = load(config)
    small = example_rows(config, dataset)
    encoded = dataset.preprocessing.encode(frame[frame["x"].isin(small["x"].tolist())])
    assert {row.tobytes() for row in encoded} == {row.tobytes() for row in dataset.training.x[: len(small)]}
    monkeypatch.setattr(parquet_files, "LARGE", n_rows)
    monkeypatch.setattr(large, "ROWS", 32)
    assert example_rows(config, load(config)).equals(small)


def test_rows_without_a_label_may_hold_anything(tmp_path: Path):
    """Such as a line of units above the rows, or a line of totals below them."""
    rng = np.random.default_rng(0)
    rows = [f"{x:.3f},{label}" for x, label in zip(rng.normal(size=200), rng.integers(0, 2, 200), strict=True)]
    path = tmp_path / "own.csv"
    path.write_text("\n".join(["length,target", "metres,", *rows[:2], "as above,", *rows[2:], "Total: 200 rows,", ""]))
    config = DataConfig(str(path))
    dataset = load(config)
    found = example_rows(config, dataset)
    known = {row.tobytes() for row in dataset.training.x[: len(found)]}
    assert {row.tobytes() for row in dataset.preprocessing.encode(found)} == known
