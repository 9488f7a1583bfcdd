"""Fields, names and texts of a ``.csv`` that are easily read as something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.config import DataConfig
from pipelines.data import loading
from pipelines.encoding import encoder
from pipelines.encoding.encoder import TableEncoder
from pipelines.errors import DataError
from pipelines.files.tables import read_table

N_ROWS = 200


@pytest.mark.parametrize("row", ["{},0.5,0,3,", "{},7,50,0,1"])
@pytest.mark.parametrize("first", [0, 1])
def test_a_field_too_many_in_each_row_is_refused_though_the_first_one_counts(
    row: str, first: int, tmp_path: Path
) -> None:
    """pandas would take the first field for row names, and each column would hold the values of the next one."""
    path = tmp_path / "own.csv"
    path.write_text("\n".join(["id,a,y,c", *(row.format(n) for n in range(first, first + 60))]))
    with pytest.raises(DataError, match="rows must have one field a column, got more fields than names"):
        read_table(path, (), ())


@pytest.mark.parametrize("name", ["None", "NA", "null", "nan"])
def test_a_column_may_have_the_name_of_a_missing_value(name: str, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(f"a,{name},y\n1,,2\n2,x,3\n3,NA,1\n")
    frame = read_table(tmp_path / "own.csv", (), ())
    assert list(frame.columns) == ["a", name, "y"]
    assert frame[name].isna().tolist() == [True, False, True]


@pytest.mark.parametrize(("separator", "expected"), [(",", [1.5, 2.125]), ("\t", [1500, 2125]), ("|", [1500, 2125])])
def test_a_point_is_a_decimal_point_only_where_commas_cannot_be(
    separator: str, expected: list[float], tmp_path: Path
) -> None:
    """A training file had decimal commas. Where commas separate fields, a decimal comma needs quotes."""
    learned = TableEncoder.learn(pd.DataFrame({"size": [1.5, 12.25, 3.125, 7.5] * 5}), {"size": ","})
    (tmp_path / "rows.csv").write_text(f"size{separator}other\n1.500{separator}1\n2.125{separator}1\n")
    read = learned.in_own_form(read_table(tmp_path / "rows.csv", learned.text_columns, ()))
    assert learned.encode(read)[:, 0].tolist() == expected


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (pd.DataFrame({"a": [1.0, 2.0], "b": [["x"], ["y"]]}), "column 'b': must hold numbers, texts or dates"),
        (pd.DataFrame([[1.0, "x", "y"]], columns=["a", "b", "b"]), "column 'b': must be one column, got 2"),
    ],
)
def test_rows_to_predict_that_no_table_has_are_refused_in_one_line(rows: pd.DataFrame, problem: str) -> None:
    learned = TableEncoder.learn(pd.DataFrame({"a": range(20), "b": ["x", "y"] * 10}))
    with pytest.raises(DataError, match=problem):
        learned.encode(rows)


def notes(path: Path, frame: pd.DataFrame, **settings: object) -> tuple[str, ...]:
    frame.to_csv(path, index=False)
    return loading.load(DataConfig(str(path), target="y", **settings)).notes


def test_texts_among_numbers_that_become_categories_are_named(tmp_path: Path) -> None:
    frame = pd.DataFrame({"age": [str(n % 40) for n in range(N_ROWS)], "y": ["a", "b"] * (N_ROWS // 2)})
    frame.loc[7, "age"] = "3O"
    line = "column 'age': 199 of 200 values are numbers, others are not, such as '3O': all are taken as texts"
    assert any(note.startswith(line) for note in notes(tmp_path / "own.csv", frame))


def test_a_mark_of_a_missing_value_that_becomes_a_class_is_named(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": range(N_ROWS), "y": ["0", "1", "1", "?"] * (N_ROWS // 4)})
    assert any("column 'y': the texts '?' (50 rows) are labels" in note for note in notes(tmp_path / "own.csv", frame))
    frame["y"] = np.where(frame["a"] % 20 == 3, "unknown", (frame["a"] * 1.1).astype(str))
    assert any(
        note.startswith("column 'y': 10 of 200 rows hold no label") for note in notes(tmp_path / "own.csv", frame)
    )


def test_equal_times_are_never_in_two_splits_so_no_line_says_so(tmp_path: Path) -> None:
    frame = pd.DataFrame({"d": np.arange(N_ROWS) // 4, "v": range(N_ROWS)})
    frame["y"] = np.where(frame["d"] % 2, "a", "b")
    assert not any("data.group = 'd'" in note for note in notes(tmp_path / "own.csv", frame, time="d"))


def test_rows_are_counted_in_the_file_where_some_hold_no_label(tmp_path: Path) -> None:
    frame = pd.DataFrame({"w": 1.0, "size": range(N_ROWS), "y": ["a", "b"] * (N_ROWS // 2)}).astype({"size": object})
    frame.loc[[0, 3], "y"] = None
    frame.loc[50, "w"] = -5
    with pytest.raises(DataError, match=r"got -5\.0 \(1 such rows, the first 51\)"):
        notes(tmp_path / "own.csv", frame, weight="w")
    frame.loc[50, "w"], frame.loc[90, "size"] = 1, np.inf
    with pytest.raises(DataError, match=r"column 'size': must hold finite .* got inf \(1 such rows, the first 91\)"):
        notes(tmp_path / "own.csv", frame, weight="w")


def test_rows_to_predict_are_counted_from_the_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    learned = TableEncoder.learn(pd.DataFrame({"size": np.arange(40.0)}))
    monkeypatch.setattr(encoder, "_CHUNK_ROWS", 100)
    rows = pd.DataFrame({"size": np.arange(400.0)}, index=np.arange(1000, 1400))
    rows.iloc[[250, 399]] = np.inf
    with pytest.raises(DataError, match=r"got inf \(2 such rows, the first 251, 400\)"):
        learned.encode(rows)


@pytest.mark.parametrize("gap", [False, True])
def test_leading_zeros_are_named_where_a_value_is_missing_too(gap: bool, tmp_path: Path) -> None:
    frame = pd.DataFrame({"zip": [f"0{n % 9}123" for n in range(N_ROWS)], "y": ["a", "b"] * (N_ROWS // 2)})
    if gap:
        frame.loc[9, "zip"] = None
    line = "column 'zip': texts with leading zeros are read as numbers"
    assert any(note.startswith(line) for note in notes(tmp_path / "own.csv", frame))


def test_large_whole_numbers_are_named_where_a_value_is_missing_too(tmp_path: Path) -> None:
    ids = [str(1234567890123456710 + n) for n in range(N_ROWS)]
    frame = pd.DataFrame({"id": ids, "size": range(N_ROWS), "y": ["a", "b"] * (N_ROWS // 2)})
    frame.loc[3, "id"] = None
    found = notes(tmp_path / "own.csv", frame)
    assert any(note.startswith("column 'id': whole numbers above 9,007,199,254,740,992 are rounded") for note in found)
    frame["id"] = [None, *(f"{n}e30" for n in range(1, N_ROWS))]
    assert not any("are rounded" in note for note in notes(tmp_path / "own.csv", frame)), "they were floats"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a;b;y\r1;2;x\r3;4;x\r", ["a", "b", "y"]),
        ("name|alias,y\nA|b,1\nC|d,2\n", ["name|alias", "y"]),
        ("one\n1;2\n3\n", ["one"]),
    ],
)
def test_the_separator_is_found(text: str, names: list[str], tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_bytes(text.encode())
    assert list(read_table(tmp_path / "own.csv", (), ()).columns) == names


@pytest.mark.parametrize("words", [("TRUE", "FALSE"), ("True", "False"), ("true", "FALSE")])
def test_a_missing_truth_value_is_no_class(words: tuple[str, str], tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": range(N_ROWS), "y": [*words] * (N_ROWS // 2)})
    frame.loc[5, "y"] = "NA"
    assert "column 'y': 1 of 200 rows hold no label and are left out" in notes(tmp_path / "own.csv", frame)


def test_rows_with_too_few_fields_are_named(tmp_path: Path) -> None:
    rows = [f'{n},"a, b",{"uv"[n % 2]}' for n in range(60)]
    (tmp_path / "own.csv").write_text("\n".join(["x,z,y", *rows]) + "\n")
    whole = loading.load(DataConfig(str(tmp_path / "own.csv"), target="y")).notes
    (tmp_path / "own.csv").write_text("\n".join(["x,z,y", *rows[:7], "8", *rows[8:], "", "  ", "61"]))
    with_short = loading.load(DataConfig(str(tmp_path / "own.csv"), target="y")).notes
    line = "rows with fewer fields than there are names: 2, the first is row 8; what they lack counts as missing"
    assert line in with_short
    assert not any("fewer fields" in note for note in whole)
