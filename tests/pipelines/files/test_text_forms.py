"""Texts of tables and archives in the forms that people use, and what is said where a reading may be wrong."""

from __future__ import annotations

import datetime
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from pipelines.config import DataConfig
from pipelines.data import datasets, loading
from pipelines.errors import DataError
from pipelines.files.text_forms import are_marks, parse

N_ROWS = 120
PRICES = np.random.default_rng(0).uniform(1000, 9000, N_ROWS).round(2)
Y = np.arange(N_ROWS) % 2


def load(path: Path, **columns: object) -> datasets.Dataset:
    frame = pd.DataFrame({**columns, "target": columns.get("target", Y)})
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return loading.load(DataConfig(str(path)))


def archive(path: Path, **arrays: object) -> datasets.Dataset:
    np.savez(path, **{"x": PRICES[:, None], "y": Y, **arrays})
    return loading.load(DataConfig(str(path)))


@pytest.mark.parametrize(
    ("text", "text_format", "number"),
    [
        ("4,575E+02", ",", 457.5),
        ("4,575E+02", ".", None),  # never 4575 times 100
        ("1.5e3", ".", 1500),
        ("e5", ".", None),
        ("12,34,567.50", ".", 1234567.5),
        ("12,34", ".", None),
        ("9,50-", ",", -9.5),
        ("\u20139.5", ".", -9.5),
        ("1,200.50 USD", ".", 1200.5),
        ("AUD 7", ".", 7),
        ("A$ 1,200", ".", 1200),
        ("7 kg", ".", None),
        ("1 2", ".", None),
    ],
)
def test_a_number_is_read_in_its_form_or_not_at_all(text: str, text_format: str, number: float | None):
    (read,) = parse(pd.Series([text], dtype=object), text_format)
    assert np.isnan(read) if number is None else read == number


def test_marks_of_databases_and_dashes_are_missing():
    assert are_marks(pd.Series([r"\N", "(null)", "\u2013", "TBD"])).all()
    assert not are_marks(pd.Series(["0", "x"])).any()


@pytest.mark.parametrize(
    "texts",
    [
        [f"{x:.2f}".replace(".", "," if row % 2 else ".") for row, x in enumerate(PRICES)],
        [
            day.strftime("%d.%m.%Y" if row % 2 else "%Y-%m-%d")
            for row, day in enumerate(pd.date_range("2020", periods=120))
        ],
    ],
    ids=["decimals", "dates"],
)
def test_a_column_in_two_forms_is_refused(tmp_path: Path, texts: list[str]):
    with pytest.raises(
        DataError, match=r"column 'a': must hold (numbers|dates) alone, got .*\(60 such rows, .*one form"
    ):
        load(tmp_path / "own.csv", a=texts, b=PRICES)


@pytest.mark.parametrize(
    ("texts", "line"),
    [
        ([f"${x}" if row % 2 else f"€{x}" for row, x in enumerate(PRICES)], "the currencies $, € are not converted"),
        ([f"{x}%" if row % 2 else f"{x}" for row, x in enumerate(PRICES)], "60 of 120 values are percentages"),
        ([f"0{1 + row % 9}/0{1 + row % 7}/2020" for row in range(N_ROWS)], "%d/%m/%Y is taken, %m/%d/%Y fits as well"),
        (
            ["?" if row % 3 else f"{x}" for row, x in enumerate(PRICES)],
            f"numbers, '{PRICES[0]}' as {PRICES[0]}; '?' (80",
        ),
        ([f"{x} kg" for x in PRICES], "different texts in 76 rows; to use numbers, write them without units"),
    ],
    ids=["currencies", "percentages", "day or month", "example", "units"],
)
def test_a_reading_that_may_be_wrong_is_said(tmp_path: Path, texts: list[str], line: str):
    assert any(line in note for note in load(tmp_path / "own.csv", a=texts, b=PRICES).notes)


@pytest.mark.parametrize("day", ["9999-12-31", "1600-01-01"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_dates_beyond_nanoseconds_are_dates(tmp_path: Path, day: str, suffix: str):
    days = [datetime.date.fromisoformat(day if row == 50 else "2020-01-02") for row in range(N_ROWS)]
    column = load(tmp_path / f"own{suffix}", a=days, b=PRICES).preprocessing.columns.columns[0]
    assert column.kind == "date"
    assert column.encode(pd.Series([day]))[0, 0] == int(day[:4])


def test_times_and_durations_of_parquet_are_features(tmp_path: Path):
    times = [datetime.time(row % 24, row % 60) for row in range(N_ROWS)]
    seconds = np.arange(N_ROWS) % 50
    dataset = load(tmp_path / "own.parquet", a=times, b=pd.to_timedelta(seconds, unit="s"), c=PRICES)
    first, second, _ = dataset.preprocessing.columns.columns
    assert (first.kind, second.kind) == ("date", "numeric")
    assert first.encode(pd.Series(times))[:, 4].tolist() == pytest.approx(
        [t.hour + t.minute / 60 for t in times], abs=1e-5
    )
    assert second.encode(pd.Series(pd.to_timedelta(seconds, unit="s")))[:, 0].tolist() == seconds.tolist()


@pytest.mark.parametrize(
    "numbers", [[2**60 + row for row in range(N_ROWS)], [Decimal(10**30 + row) for row in range(N_ROWS)]]
)
def test_whole_numbers_that_float64_merges_are_named(tmp_path: Path, numbers: list[object]):
    notes = load(tmp_path / "own.parquet", a=numbers, b=PRICES).notes
    assert any("column 'a': 120 different numbers are " in note and "data.text_columns" in note for note in notes)


def test_numbers_beyond_float32_are_counted_in_the_whole_file(tmp_path: Path):
    with pytest.raises(DataError, match=r"column 'a': must hold finite float32 numbers, got 1\d+ \(120 such rows"):
        load(tmp_path / "own.csv", a=[str(10**50 + row) for row in range(N_ROWS)], b=PRICES)


def test_labels_of_a_categorical_column_have_no_blanks(tmp_path: Path):
    dataset = load(tmp_path / "own.parquet", b=PRICES, target=pd.Categorical(np.array(["u", "v"])[Y]))
    assert (dataset.class_names, dataset.notes) == (("u", "v"), ())


def test_labels_that_look_alike_are_named(tmp_path: Path):
    dataset = load(tmp_path / "own.csv", b=PRICES, target=np.array(["\u00e9", "e\u0301"])[Y])
    assert any("differ by their Unicode form alone and are 2 classes" in note for note in dataset.notes)


def test_what_a_table_holds_beside_its_columns_is_named(tmp_path: Path):
    frame = pd.DataFrame({"b": PRICES, "target": Y}, index=pd.date_range("2020", periods=N_ROWS))
    frame.to_parquet(tmp_path / "own.parquet")
    assert any(
        "index '(without a name)': not used" in note
        for note in loading.load(DataConfig(str(tmp_path / "own.parquet"))).notes
    )
    (tmp_path / "own.csv").write_text("".join(f"{x},{y}\n" for x, y in zip(PRICES, Y, strict=True)))
    notes = loading.load(replace(DataConfig(str(tmp_path / "own.csv")), target="0")).notes
    assert any("the first line holds numbers alone" in note for note in notes)


def test_tables_with_null_bytes_or_a_name_twice_are_refused(tmp_path: Path):
    (tmp_path / "own.csv").write_bytes("a,target\n1,2\n".encode("utf-16-le"))
    with pytest.raises(DataError, match="must be UTF-8 text, got a null byte, as in UTF-16"):
        loading.load(DataConfig(str(tmp_path / "own.csv")))
    parquet.write_table(pa.table([PRICES, PRICES, Y], names=["a", "a", "target"]), tmp_path / "own.parquet")
    with pytest.raises(DataError, match="column names must differ, got a more than once"):
        loading.load(DataConfig(str(tmp_path / "own.parquet")))


@pytest.mark.parametrize("labels", [np.array(["a", "b", "b ", " a"]), np.array([b"a", b"b", b"b ", b" a"])])
def test_blanks_around_the_labels_of_an_archive_do_not_matter(tmp_path: Path, labels: np.ndarray):
    dataset = archive(tmp_path / "own.npz", y=labels[np.arange(N_ROWS) % 4])
    assert dataset.class_names == ("a", "b")
    assert "array 'y': blanks around labels are removed" in dataset.notes


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        (np.where(Y, "a", ""), "every row must have a label, got 60 empty"),
        (np.where(Y, 1.0, np.nan), "every row must have a label, got 60 NaN"),
        (np.array([b"\xe4", b"\xf6"])[Y], "labels must be UTF-8 text, got byte 0xe4"),
    ],
)
def test_labels_of_an_archive_that_are_missing_or_unreadable_are_refused(tmp_path: Path, labels: np.ndarray, line: str):
    with pytest.raises(DataError, match=line):
        archive(tmp_path / "own.npz", y=labels)


@pytest.mark.parametrize("x", [1.7e9 + np.arange(N_ROWS) / 10, 10**10 + np.arange(N_ROWS)], ids=["float64", "int64"])
def test_features_of_an_archive_that_float32_merges_are_named(tmp_path: Path, x: np.ndarray):
    notes = archive(tmp_path / "own.npz", x=np.stack([PRICES, x], axis=1)).notes
    assert any(
        "array 'x': values of 1 features differ, but not as float32, such as those of feature 1 (120" in n
        for n in notes
    )
    assert not any("float32" in note for note in archive(tmp_path / "plain.npz").notes)


def test_arrays_of_an_archive_that_do_not_fit_its_names_or_types_are_named(tmp_path: Path):
    x = np.arange(N_ROWS * 2, dtype=np.uint8).reshape(N_ROWS, 2)
    beside = archive(tmp_path / "own.npz", x_test=x, y_test=Y).notes
    assert "array 'x_test': not used beside x and y; to use it, name the training rows x_train and y_train" in beside
    arrays = {"x_train": x, "y_train": Y, "x_val": x / 255, "y_val": Y}
    np.savez(tmp_path / "typed.npz", **arrays)
    notes = loading.load(DataConfig(str(tmp_path / "typed.npz"))).notes
    assert any("array 'x_val' holds float64, x_train uint8" in note for note in notes)
