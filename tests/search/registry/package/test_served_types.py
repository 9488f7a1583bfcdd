"""Values of every type that a table can have get the same features from the file, from JSON and from a .csv."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models import convert_input_example_to_serving_input
from mlflow.models.utils import _enforce_schema
from mlflow.pyfunc.scoring_server import infer_and_parse_data

from pipelines.config import DataConfig
from pipelines.data.loading import load
from pipelines.files.tables import read_table
from search.registry.package import example_rows
from search.registry.package.packed import signature_of

N_ROWS = 90
DAYS = pd.date_range("2020-05-01 06:00", periods=N_ROWS, freq="29h")
NUMBERS = np.arange(N_ROWS)
ARROW = {
    "day": pd.ArrowDtype(pa.date32()),
    "zone": pd.ArrowDtype(pa.timestamp("us", "Europe/Berlin")),
    "spent": pd.ArrowDtype(pa.duration("us")),
    "hour": pd.ArrowDtype(pa.time64("us")),
    "price": pd.ArrowDtype(pa.decimal128(8, 2)),
    "count": pd.ArrowDtype(pa.int64()),
    "wet": pd.ArrowDtype(pa.bool_()),
    "word": pd.ArrowDtype(pa.string()),
}


def table() -> pd.DataFrame:
    """A column of each type, with gaps."""
    frame = pd.DataFrame(
        {
            "moment": DAYS,
            "zone": DAYS.tz_localize("Europe/Berlin"),
            "day": DAYS.date,
            "hour": [datetime.time(row % 24, row % 60) for row in NUMBERS],
            "spent": pd.to_timedelta(NUMBERS * 577.5, unit="s"),
            "price": [Decimal(int(row)) / 4 for row in NUMBERS],
            "count": pd.array(NUMBERS % 9, dtype="Int64"),
            "small": (NUMBERS % 7).astype(np.uint8),
            "half": (NUMBERS / 4).astype(np.float32),
            "wet": pd.array(NUMBERS % 3 == 0, dtype="boolean"),
            "word": np.array(["u", "v", "w"])[NUMBERS % 3],
            "size": pd.Categorical(np.array(["s", "m", "l"])[NUMBERS % 3]),
            "target": NUMBERS % 2,
        }
    )
    for number, name in enumerate(frame.columns[:-1]):
        if name not in ("small", "half"):
            frame.loc[number::30, name] = None
    return frame


@pytest.mark.parametrize("types", [{}, ARROW], ids=["numpy", "arrow"])
def test_rows_of_every_type_are_served_and_predicted_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, types: dict[str, pd.ArrowDtype]
):
    frame = table().astype(types)
    frame.to_parquet(path := tmp_path / "own.parquet")
    config = DataConfig(str(path))
    dataset = load(config)
    encoder = dataset.preprocessing.columns
    assert encoder is not None
    assert not [column.name for column in encoder.columns if column.kind == "ignored"]
    monkeypatch.setattr(example_rows, "_N_EXAMPLES", 40)
    known = {row.tobytes() for row in dataset.training.x[:40]}

    example = example_rows.example_rows(config, dataset)
    inputs = signature_of(dataset).inputs
    payload = json.loads(convert_input_example_to_serving_input(example))
    served = _enforce_schema(infer_and_parse_data(payload, inputs), inputs)
    assert {row.tobytes() for row in encoder.encode(served)} == known

    rows = example_rows._find_rows(config, encoder, known)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    again = encoder.encode(read_table(tmp_path / "rows.csv", encoder.text_columns, encoder.literal_columns))
    assert {row.tobytes() for row in again} == known
    assert {row.tobytes() for row in encoder.encode(rows)} == known, "rows from Python"
