"""Tables that cannot be used: each gives one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st
from pyarrow import parquet
from refusals import Y, load_damaged, load_error

from pipelines.config import DataConfig
from pipelines.data import loading
from pipelines.data.description import describe
from pipelines.data.preprocessing import Preprocessing
from pipelines.data.targets import labels_of_column
from pipelines.errors import DataError
from pipelines.files.tables import announce

CELLS = st.text(max_size=6) | st.sampled_from(["1", "-2.5", "1e400", "nan", "NA", "", '"', "a,b", "yes", "\x00", "é"])


@settings(max_examples=100)
@given(
    rows=st.lists(st.lists(CELLS, min_size=1, max_size=3), max_size=12),
    names=st.sampled_from(["a,b,target", "target", ""]),
)
def test_any_text_is_a_table_or_refused_in_one_line(tmp_path_factory, rows: list[list[str]], names: str):
    path = tmp_path_factory.mktemp("any") / "own.csv"
    path.write_text("\n".join([names, *(",".join(row) for row in rows)]), encoding="utf-8", errors="surrogatepass")
    try:
        describe(DataConfig(str(path)))
    except DataError as error:  # it may also load
        assert all("\n" not in problem for problem in error.problems)  # noqa: PT017


@settings(max_examples=100)
@given(data=st.data())
def test_a_damaged_parquet_file_is_never_a_traceback(tmp_path_factory, data: st.DataObject):
    path = tmp_path_factory.mktemp("damaged") / "own.parquet"
    pd.DataFrame({"age": range(30), "sort": ["a", None, "b"] * 10, "target": Y}).to_parquet(path)
    load_damaged(path, data)


def test_a_parquet_file_with_any_byte_changed_is_announced_or_left_to_the_reader(tmp_path: Path):
    """Arrow raises errors of many types, such as one for integers of more than 64 bits."""
    path = tmp_path / "own.parquet"
    pd.DataFrame({"age": range(30), "sort": ["a", None, "b"] * 10, "target": Y}).to_parquet(path)
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + b"/" + content[place + 1 :])
        assert announce(path) == "" or "need about" in announce(path)


@settings(max_examples=25)
@given(
    numbers=st.lists(st.floats(-1e6, 1e6, width=32), min_size=24, max_size=40),
    sorts=st.lists(st.sampled_from(["red", "green", 'b,l"u\ne']), min_size=40, max_size=40),
)
def test_a_table_means_the_same_as_csv_and_as_parquet(tmp_path_factory, numbers: list[float], sorts: list[str]):
    folder, n = tmp_path_factory.mktemp("same"), len(numbers)
    frame = pd.DataFrame({"number": numbers, "sort": sorts[:n], "target": np.arange(n) % 2})
    frame.to_csv(folder / "own.csv", index=False)
    frame.to_parquet(folder / "own.parquet")
    one, other = (loading.load(DataConfig(str(folder / f"own.{kind}"))) for kind in ("csv", "parquet"))
    assert np.allclose(one.training.x, other.training.x, rtol=1e-6)
    assert np.array_equal(one.validation.y, other.validation.y)
    again = Preprocessing.from_json(json.loads(json.dumps(one.preprocessing.to_json())))
    assert again == one.preprocessing


ROWS = "\n".join(f"{number},{number % 2}" for number in range(30))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "must name its columns in the first line, got an empty file"),
        ("age,target\n", "must hold rows below its column names, got none"),
        (f"age,Target\n{ROWS}", "must have the label's column 'target' (did you mean 'Target'?), got age, Target:"),
        (f"target,target\n{ROWS}", "column names must differ, got target more than once"),
        (f"age,target\n{ROWS}\n1,2,3\n", "cannot be read as a table (Error tokenizing data"),
        (f"age,target\n1,2,3\n{ROWS}", "rows must have one field a column, got more fields than names"),
        ("age,target\n" + "1,2,3\n" * 5, "rows must have one field a column, got more fields than names"),
        ("age,target\n" + "1,\n2,NA\n3,1\n4,0\n5,\n" * 9, "'target': every row must have a label, got 27 empty, NA or"),
        (f"age,target\n1,inf\n{ROWS}", "column 'target': must hold finite float32 numbers, got 1 infinite"),
        (
            "age,target\n" + ",1\n,0\n" * 9,
            "must have a column to learn from, got none ('age': no value in the training rows)",
        ),
        ("target\n" + "1\n0\n" * 9, "must have a column to learn from, got none (the target alone)"),
        (f"age,target\ninf,1\n{ROWS}", "column 'age': must hold finite float32 numbers, got inf"),
        (
            "name,target\n" + "".join(f"pet {n},{n % 2}\n" for n in range(30)),
            "none ('name': 19 different texts in 19 rows)",
        ),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, content: str, expected: str):
    (tmp_path / "own.csv").write_text(content)
    assert expected in load_error(tmp_path / "own.csv")


@pytest.mark.parametrize("target", [[0, 1], [True, False], ["a", "b"], [0.25, 1.5]], ids=str)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_rows_without_a_label_are_left_out_with_a_note(tmp_path: Path, target: list[object], suffix: str):
    full = pd.DataFrame({"age": np.arange(40), "target": target * 20})
    if target == [0.25, 1.5]:
        full["target"] += np.arange(40)
    some = pd.concat([full[:7], pd.DataFrame({"age": [900, 901], "target": [None, None]}), full[7:]])
    for name, frame in (("full", full), ("some", some)):
        path = tmp_path / f"{name}.{suffix}"
        frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path, index=False)
    of_full, of_some = (loading.load(DataConfig(str(tmp_path / f"{name}.{suffix}"))) for name in ("full", "some"))
    assert np.array_equal(of_full.training.x, of_some.training.x)
    assert np.array_equal(of_full.validation.y, of_some.validation.y)
    assert of_full.preprocessing == of_some.preprocessing
    assert "column 'target': 2 of 42 rows hold no label and are left out" in of_some.notes


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_table_in_another_encoding(tmp_path: Path, encoding: str):
    (tmp_path / "own.csv").write_text(f"stadt,target\nZürich,1\n{ROWS}", encoding=encoding)
    assert "must be UTF-8 text, got " in load_error(tmp_path / "own.csv")


def test_a_table_with_a_byte_order_mark_is_read(tmp_path: Path):
    (tmp_path / "own.csv").write_text(f"age,target\n{ROWS}", encoding="utf-8-sig")
    assert loading.load(DataConfig(str(tmp_path / "own.csv"))).preprocessing.columns.columns[0].name == "age"


@pytest.mark.parametrize("n_bytes", [0, 3, 400])
def test_a_parquet_file_that_is_cut_off(tmp_path: Path, n_bytes: int):
    path = tmp_path / "own.parquet"
    pd.DataFrame({"age": range(30), "target": Y}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:n_bytes])
    assert "cannot be read" in load_error(path)


def test_a_parquet_column_of_text_that_is_not_utf8(tmp_path: Path):
    text = pa.array([b"red", b"\xff\xfe", b"blue"] * 10).cast(pa.string(), safe=False)
    parquet.write_table(pa.table({"sort": text, "target": Y}), tmp_path / "own.parquet")
    assert "Invalid UTF8" in load_error(tmp_path / "own.parquet")


def test_a_parquet_file_with_a_column_of_lists_alone(tmp_path: Path):
    pd.DataFrame({"pair": [[1, 2]] * 30, "target": Y}).to_parquet(tmp_path / "own.parquet")
    expected = (
        "got none ('pair': its values (lists) are no numbers, booleans, dates or texts): add numbers or categories"
    )
    assert expected in load_error(tmp_path / "own.parquet")


def test_a_target_of_dates(tmp_path: Path):
    frame = pd.DataFrame({"age": range(30), "target": pd.date_range("2020-01-01", periods=30)})
    frame.to_parquet(tmp_path / "own.parquet")
    assert "labels must be all numbers or all text, got datetime" in load_error(tmp_path / "own.parquet")


def test_labels_of_mixed_types():
    with pytest.raises(DataError, match="labels must be all numbers or all text, got mixed-integer values"):
        labels_of_column(pd.Series([1, "two", 3], dtype=object), None, "own.csv, column 'target'")


def test_a_column_without_values_is_ignored_unless_it_is_declared(tmp_path: Path):
    path = tmp_path / "own.csv"
    path.write_text("age,empty,target\n" + "".join(f"{n},,{n % 2}\n" for n in range(30)))
    notes: list[str] = []
    dataset = loading.load(DataConfig(str(path)), note=notes.append)
    assert "note: column 'empty': ignored, no value in the training rows" in notes
    assert dataset.preprocessing.columns is not None
    for declared in ({"numeric": ["empty"]}, {"text_columns": ["empty"]}, {"group": "empty"}, {"weight": "empty"}):
        with pytest.raises(DataError, match="column 'empty': must hold values, got none in any row: drop it"):
            loading.load(DataConfig(str(path), **declared))
