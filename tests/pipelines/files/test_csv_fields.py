"""Fields, names and texts of a ``.csv`` that are easily read as something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.config import DataConfig
from pipelines.data import loading
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
