"""Values that are seldom in a column: very long texts, very large whole numbers, durations, texts such as ``nan``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.config import DataConfig
from pipelines.data.loading import load
from pipelines.encoding import pieces
from pipelines.errors import DataError
from pipelines.evaluation.decisions import ResidualInterval
from pipelines.files.columns import to_numbers
from pipelines.files.tables import parquet_files
from pipelines.files.text_forms import DURATION

N = 60
LONG, HUGE = "w" * 8000, "1" + "0" * 400


def saved(folder: Path, **columns: object) -> str:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=N), "target": rng.choice(["x", "y"], N)} | columns)
    frame.to_csv(folder / "rows.csv", index=False)
    return str(folder / "rows.csv")


@pytest.mark.parametrize(
    ("values", "given", "message"),
    [
        ([LONG] + ["ok"] * (N - 1), {"target": "it"}, "labels must have at most 500 characters, got 8,000: name the"),
        ([LONG, *map(str, range(N - 1))], {"group": "it"}, "groups must have at most 500 characters, got 8,000: name"),
        (
            [HUGE] * N,
            {},
            r"column 'it': must hold finite float32 numbers, got 10+… \(60 such rows, the first 1, 2, 3\)",
        ),
        ([HUGE] * N, {"weight": "it"}, "weights must be finite numbers >= 0, got 10+…"),
        ([HUGE + "0" * row for row in range(N)], {"time": "it"}, "column 'it': must hold finite float32 numbers"),
        ([HUGE + "0" * row for row in range(N)], {"target": "it"}, "must hold finite float32 numbers, got 60 infinite"),
    ],
)
def test_what_no_row_can_hold_is_refused_in_one_line(
    tmp_path: Path, values: list[str], given: dict[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=message) as error:
        load(DataConfig(saved(tmp_path, it=values), **given))
    assert len(str(error.value)) < 500


def test_durations_are_seconds_however_a_row_holds_them() -> None:
    values = [pd.Timedelta("1 days 01:00:00"), None, "P3DT0H12M53S", "1 days 00:00:01", "24:14:38"]
    expected = [90_000, np.nan, 3 * 86_400 + 773, 86_401, 87_278]
    assert to_numbers(pd.Series(values, dtype=object), "it", DURATION).tolist() == pytest.approx(expected, nan_ok=True)
    assert to_numbers(pd.Series([pd.Timedelta("2s")], dtype=object), "it").tolist() == [2]


def test_labels_of_an_archive_that_look_missing_are_named(tmp_path: Path) -> None:
    labels = np.array(["a", "b", "nan"])[np.arange(N) % 3]
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).normal(size=(N, 3)), y=labels)
    notes = load(DataConfig(str(tmp_path / "rows.npz"))).notes
    assert "array 'y': the texts 'nan' are labels, not missing; drop the rows without a label" in notes


@pytest.mark.parametrize(("given", "place"), [({}, "column 'target': "), ({"group": "target", "target": "a"}, "")])
def test_the_index_of_a_table_is_named_as_such(tmp_path: Path, given: dict[str, str], place: str) -> None:
    pd.read_csv(saved(tmp_path)).set_index("target").to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=f"{place}.*index: save the table with its index as a column"):
        load(DataConfig(str(tmp_path / "rows.parquet"), **given))


def test_numbers_of_groups_stay_apart_in_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A join makes them float64; as float32, 100,000,001 and 100,000,002 are equal."""
    groups = np.where(np.arange(N) < 2, 1, 100_000_000 + np.arange(N, dtype=np.float64) // 2)
    frame = pd.read_csv(saved(tmp_path)).assign(it=groups)
    frame.to_parquet(tmp_path / "rows.parquet")
    monkeypatch.setattr(parquet_files, "LARGE", N)
    data = load(DataConfig(str(tmp_path / "rows.parquet"), group="it"))
    found = [split.group for split in (data.training, data.validation)]
    assert all(np.bincount(group)[np.unique(group)].tolist() == [2] * (len(group) // 2) for group in found)


def test_rows_of_weight_0_do_not_set_the_interval_of_predictions() -> None:
    residuals = np.random.default_rng(0).normal(size=25)
    found = ResidualInterval.learn(np.append(residuals, 1e6), np.zeros(26), np.append(np.full(25, 26 / 25), 0))
    assert found == ResidualInterval.learn(residuals, np.zeros(25))


def test_a_table_of_very_many_columns_has_no_embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(200, 10)).astype(np.float32)
    assert pieces.learn_pieces(x, [True] * 10, 0.0, 1.0) is not None
    monkeypatch.setattr(pieces, "MAX_KERNEL", 100)
    assert pieces.learn_pieces(x, [True] * 10, 0.0, 1.0) is None
