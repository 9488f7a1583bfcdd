"""A large ``.parquet`` file is announced, and read and encoded in pieces to the same rows as a small one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.config import DataConfig
from pipelines.data import datasets
from pipelines.encoding import encoder
from pipelines.files import tables
from pipelines.files.tables import parquet_files

N_ROWS = 300


def write(path: Path, **settings: object) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "number": rng.normal(size=N_ROWS),
            "gaps": np.where(rng.random(N_ROWS) < 0.2, np.nan, rng.normal(size=N_ROWS)),
            "time": 1.7e9 + np.arange(N_ROWS) / 10,
            "whole": rng.integers(0, 9, N_ROWS),
            "city": rng.choice(["Rome", "Oslo"], N_ROWS),
            "day": pd.date_range("2024-01-01", periods=N_ROWS),
            "target": rng.normal(size=N_ROWS),
        }
    )
    frame.to_parquet(path, row_group_size=70, **settings)
    return frame


def test_it_is_read_in_pieces_to_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, said = tmp_path / "own.parquet", []
    write(path)
    config = DataConfig(str(path))
    small = datasets.load(config, note=said.append)
    assert not any("need about" in line for line in said)

    monkeypatch.setattr(parquet_files, "LARGE", N_ROWS)
    monkeypatch.setattr(encoder, "_CHUNK_ROWS", 64)
    large = datasets.load(config, note=said.append)
    assert f"{path}: 300 rows by 7 columns need about 0.0 GB of memory" in next(x for x in said if "need about" in x)
    assert large.fingerprint == small.fingerprint
    assert np.array_equal(large.training.y, small.training.y), "targets keep their digits"
    np.testing.assert_allclose(large.training.x, small.training.x, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(large.validation.x, small.validation.x, rtol=1e-5, atol=1e-5)


def test_numbers_take_half_the_memory_and_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "own.parquet"
    frame = write(path)
    monkeypatch.setattr(parquet_files, "LARGE", N_ROWS)
    read = tables.read_table(path, (), ("target",))
    kept = {"number": np.float32, "gaps": np.float32, "time": np.float64, "whole": np.int64, "target": np.float64}
    assert {name: read[name].dtype for name in kept} == kept
    assert read["day"].equals(frame["day"])
    assert read["city"].tolist() == frame["city"].tolist()


@pytest.mark.parametrize("name", ["id", None])
def test_an_index_is_named_as_in_small_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None):
    path = tmp_path / "own.parquet"
    frame = write(path)
    frame.index = pd.Index([f"r{row}" for row in range(N_ROWS)], name=name)
    frame.to_parquet(path)
    small = tables.read_table(path)
    monkeypatch.setattr(parquet_files, "LARGE", N_ROWS)
    large = tables.read_table(path)
    assert large.attrs == small.attrs
    assert list(large) == list(small)
