"""Columns of every type that a Parquet file can hold: features, or ignored and named; never an error of a library."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from small_tables import N_ROWS, kinds, load, table

from pipelines.config import DataConfig
from pipelines.data import sealed
from pipelines.data.description import describe
from pipelines.errors import DataError
from pipelines.files.tables import parquet_files

NESTED = {"lists": [[1, 2]] * N_ROWS, "structs": [{"a": 1}] * N_ROWS, "bytes": [b"u", b"v"] * (N_ROWS // 2)}
HOURS = pd.date_range("2020-01-01", periods=N_ROWS, freq="7h")


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("ignore", [None, tuple(NESTED)])
@pytest.mark.parametrize("duplicates", [None, "group"])
def test_lists_structs_and_bytes_are_ignored_and_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_large: bool,
    ignore: tuple[str, ...] | None,
    duplicates: str | None,
):
    if is_large:
        monkeypatch.setattr(parquet_files, "LARGE", N_ROWS)
    dataset = load(table(**NESTED), path := tmp_path / "own.parquet", ignore=ignore, duplicates=duplicates)
    assert kinds(dataset) == {**dict.fromkeys(NESTED, "ignored"), "noise": "numeric"}
    reasons = dict.fromkeys(NESTED, "in data.ignore")
    if not ignore:
        reasons = {name: f"its values ({name}) are no numbers, booleans, dates or texts" for name in NESTED}
    assert {f"column '{name}': ignored, {reason}" for name, reason in reasons.items()} <= set(dataset.notes)
    config = DataConfig(str(path), ignore=ignore, duplicates=duplicates)
    assert len(sealed.open_test(config).y) == dataset.n_test
    assert [column.n_features for column in describe(config).columns[:3]] == [0, 0, 0]


@pytest.mark.parametrize("key", ["numeric", "text_columns"])
def test_lists_that_are_declared_numbers_or_texts_are_refused(tmp_path: Path, key: str):
    with pytest.raises(DataError, match="column 'lists': must hold numbers, booleans, dates or text, got mixed"):
        load(table(**NESTED), tmp_path / "own.parquet", **{key: ("lists",)})


@pytest.mark.filterwarnings("error")
def test_columns_of_arrow_become_the_features_of_plain_ones(tmp_path: Path):
    plain = table(
        zone=HOURS.tz_localize("Europe/Berlin"),
        day=HOURS.date,
        duration=pd.to_timedelta(np.arange(N_ROWS) % 50, unit="s"),
        time=[datetime.time(row % 24, row % 60) for row in range(N_ROWS)],
        price=[Decimal(row % 90) / 4 for row in range(N_ROWS)],
        wet=np.arange(N_ROWS) % 3 == 0,
        word=np.array(["u", "v", "w"])[np.arange(N_ROWS) % 3],
    )
    arrow = plain.convert_dtypes(dtype_backend="pyarrow")
    arrow["day"] = plain["day"].astype(pd.ArrowDtype(pa.date32()))
    arrow["time"] = plain["time"].astype(pd.ArrowDtype(pa.time64("us")))
    arrow["price"] = plain["price"].astype(pd.ArrowDtype(pa.decimal128(8, 2)))
    one, other = load(plain, tmp_path / "plain.parquet"), load(arrow, tmp_path / "arrow.parquet")
    assert kinds(one) == kinds(other)
    assert np.array_equal(one.training.x, other.training.x)
    assert "ignored" not in kinds(one).values()


def test_times_of_a_day_are_predicted_as_they_were_read(tmp_path: Path):
    times = [datetime.time(n % 24, n % 60, 7, 500_000 if n % 3 else 0) for n in range(N_ROWS)]
    dataset = load(table(at=times), path := tmp_path / "own.parquet")
    assert kinds(dataset)["at"] == "numeric"
    own = dataset.preprocessing.columns.encode(pd.read_parquet(path))
    assert (
        own[:, 0].tolist()
        == dataset.preprocessing.columns.encode(pd.DataFrame({**pd.read_parquet(path), "at": [str(t) for t in times]}))[
            :, 0
        ].tolist()
    )
