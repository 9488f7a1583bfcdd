"""Files that cannot be used: each one clear line, whatever is in them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import datasets
from pipelines.archives import read_headers
from pipelines.config import DataConfig
from pipelines.errors import DataError, MlpSearchError, NotFoundError, UnavailableError
from pipelines.splits import labels_of_column
from pipelines.tables import read_table

X = np.arange(60, dtype=np.float32).reshape(30, 2)
Y = np.arange(30) % 2


def told(path: Path, error: type[MlpSearchError] = DataError) -> str:
    with pytest.raises(error) as caught:
        datasets.load(DataConfig(str(path)))
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": X}, "must hold x_train and y_train (and may hold x_test and y_test), or x and y, got x: add y"),
        ({"rows": X}, "got rows: add x_train and y_train"),
        ({"x_train": X, "y_train": Y, "x_test": X}, "got x_train, y_train, x_test: add y_test"),
        ({"x": X, "y": Y[:7]}, "x and y must have as many rows, got shapes (30, 2) and (7,)"),
        ({"x": X[:0], "y": Y[:0]}, "x must be (n_rows, n_features, ...), none of them 0, got shape (0, 2)"),
        ({"x": X[:, :0], "y": Y}, "none of them 0, got shape (30, 0)"),
        ({"x": X[:, 0], "y": Y}, "x must be (n_rows, n_features, ...), none of them 0, got shape (30,)"),
        ({"x": X, "y": np.eye(10)[Y]}, "y must be (n_rows,), got shape (30, 10): use class numbers, y.argmax(axis=1)"),
        ({"x": X, "y": np.zeros((30, 1, 1))}, "y must be (n_rows,), got shape (30, 1, 1)"),
        ({"x": X, "y": Y + 0.5}, "labels must be whole numbers or text, got 0.5 (30 such rows)"),
        ({"x": X, "y": np.where(Y, np.nan, 1)}, "labels must be whole numbers or text, got nan (15 such rows)"),
        ({"x": X, "y": Y * 0}, "labels: must hold at least two classes, got '0' alone"),
        ({"x": X, "y": np.where(np.arange(30) < 2, 9, Y)}, "at least 3 rows, one for each split, got '9' (2)"),
        (
            {"x_train": X, "y_train": np.where(np.arange(30) < 1, 9, Y), "x_test": X, "y_test": Y},
            "2 rows, one for each",
        ),
        ({"x": np.where(X > 50, np.nan, X), "y": Y}, "x: must hold finite float32 numbers, got 9 NaN or infinite"),
        ({"x": X.astype(np.float64) * 1e300, "y": Y}, "must hold finite float32 numbers, got 59 NaN or infinite"),
        ({"x": X + 1j, "y": Y}, "x must hold real numbers, got complex64: convert it"),
        ({"x": X.astype(str), "y": Y}, "x must hold real numbers, got <U"),
        ({"x": X.astype("m8[s]"), "y": Y}, "x must hold real numbers, got timedelta64[s]"),
        ({"x": X.astype(object), "y": Y}, "x must not hold pickled objects, which are never opened"),
        ({"x": X, "y": Y.astype(object)}, "y must not hold pickled objects"),
        (
            {"x_train": X, "y_train": Y, "x_test": X[:, :1], "y_test": Y},
            "must have one shape, got arrays of (30, 2) and",
        ),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path: Path, arrays: dict[str, np.ndarray], said: str):
    np.savez(tmp_path / "own.npz", **arrays)
    assert said in told(tmp_path / "own.npz")


def test_all_problems_of_an_archive_are_told_at_once(tmp_path: Path):
    np.savez(tmp_path / "own.npz", x_train=X + 1j, y_train=Y[:, None, None], x_test=X[:3], y_test=Y)
    with pytest.raises(DataError) as caught:
        datasets.load(DataConfig(str(tmp_path / "own.npz")))
    assert len(caught.value.problems) == 3


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def npy(array: np.ndarray, shape: tuple[int, ...] | None = None) -> bytes:
    """An array as NumPy writes it, under a header that promises another shape."""
    file = io.BytesIO()
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": shape or array.shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + array.tobytes()


def test_an_archive_that_promises_more_than_memory_is_not_read(tmp_path: Path):
    path = archive(tmp_path / "bomb.npz", x=npy(X, (10**9, 10**6)), y=npy(Y, (10**9,)))
    assert "rows and one copy of them must fit in memory, got 8000016.0 GB where" in told(path)


def test_test_arrays_that_promise_more_than_memory_are_not_read(tmp_path: Path):
    test = {"x_test": npy(X, (10**12, 2)), "y_test": npy(Y, (10**12,))}
    assert "must fit in memory" in told(archive(tmp_path / "bomb.npz", x_train=npy(X), y_train=npy(Y), **test))


@pytest.mark.parametrize("shape", [(29, 2), (31, 2)])
def test_an_archive_that_holds_other_than_it_promises_is_refused(tmp_path: Path, shape: tuple[int, ...]):
    path = archive(tmp_path / "odd.npz", x=npy(X, shape), y=npy(np.resize(Y, shape[0])))
    assert f"x must hold {shape[0] * 8} bytes, got 240: write the file again" in told(path)


@pytest.mark.parametrize("content", [b"", b"x,y\n1,2\n", b"PK\x03\x04 and no more"])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "own.npz").write_bytes(content)
    assert "must be an .npz archive that is whole, got BadZipFile" in told(tmp_path / "own.npz")


def test_a_truncated_archive_is_refused(tmp_path: Path):
    np.savez_compressed(tmp_path / "own.npz", x=X, y=Y)
    (tmp_path / "own.npz").write_bytes((tmp_path / "own.npz").read_bytes()[:-40])
    assert "must be an .npz archive that is whole" in told(tmp_path / "own.npz")


def load_damaged(path: Path, data: st.DataObject) -> None:
    """Changes some bytes of a file: it loads, for not every byte matters, or is refused in one line."""
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    try:
        datasets.load(DataConfig(str(path)))
    except MlpSearchError as error:
        assert "\n" not in str(error)  # noqa: PT017


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_archive_is_never_a_traceback(tmp_path_factory, data: st.DataObject):
    path = tmp_path_factory.mktemp("damaged") / "own.npz"
    np.savez_compressed(path, x_train=X, y_train=Y, x_test=X, y_test=Y)
    load_damaged(path, data)


CELLS = st.text(max_size=6) | st.sampled_from(["1", "-2.5", "1e400", "nan", "NA", "", '"', "a,b", "yes", "\x00", "é"])


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.lists(CELLS, min_size=1, max_size=3), max_size=12),
    names=st.sampled_from(["a,b,target", "target", ""]),
)
def test_any_text_is_a_table_or_refused_in_one_line(tmp_path_factory, rows: list[list[str]], names: str):
    path = tmp_path_factory.mktemp("any") / "own.csv"
    path.write_text("\n".join([names, *(",".join(row) for row in rows)]), encoding="utf-8", errors="surrogatepass")
    try:
        datasets.describe(DataConfig(str(path)))
    except DataError as error:  # it may also load
        assert all("\n" not in problem for problem in error.problems)  # noqa: PT017


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_parquet_file_is_never_a_traceback(tmp_path_factory, data: st.DataObject):
    path = tmp_path_factory.mktemp("damaged") / "own.parquet"
    pd.DataFrame({"age": range(30), "sort": ["a", None, "b"] * 10, "target": Y}).to_parquet(path)
    load_damaged(path, data)


@settings(max_examples=25, deadline=None)
@given(
    numbers=st.lists(st.floats(-1e6, 1e6, width=32), min_size=24, max_size=40),
    sorts=st.lists(st.sampled_from(["red", "green", 'b,l"u\ne']), min_size=40, max_size=40),
)
def test_a_table_means_the_same_as_csv_and_as_parquet(tmp_path_factory, numbers: list[float], sorts: list[str]):
    folder, n = tmp_path_factory.mktemp("same"), len(numbers)
    frame = pd.DataFrame({"number": numbers, "sort": sorts[:n], "target": np.arange(n) % 2})
    frame.to_csv(folder / "own.csv", index=False)
    frame.to_parquet(folder / "own.parquet")
    one, other = (datasets.load(DataConfig(str(folder / f"own.{kind}"))) for kind in ("csv", "parquet"))
    assert np.allclose(one.training.x, other.training.x, rtol=1e-6)
    assert np.array_equal(one.validation.y, other.validation.y)
    again = datasets.Preprocessing.from_json(json.loads(json.dumps(one.preprocessing.to_json())))
    assert again == one.preprocessing


def test_a_file_that_does_not_exist(tmp_path: Path):
    assert "no such file" in told(tmp_path / "gone.npz", NotFoundError)
    (tmp_path / "folder.csv").mkdir()
    assert "no such file" in told(tmp_path / "folder.csv", NotFoundError)


ROWS = "\n".join(f"{number},{number % 2}" for number in range(30))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "must name its columns in the first line, got an empty file"),
        ("age,target\n", "must hold rows below its column names, got none"),
        (f"age,Target\n{ROWS}", "must have the label's column 'target' (did you mean 'Target'?), got age, Target:"),
        (f"target,target\n{ROWS}", "column names must differ, got target more than once"),
        (f"age,target\n{ROWS}\n1,2,3\n", "cannot be read as a table (Error tokenizing data"),
        (f"age,target\n1,2,3\n{ROWS}", "rows must have one field a column, got more fields than column names"),
        ("age,target\n" + "1,2,3\n" * 5, "rows must have one field a column, got more fields than column names"),
        (f"age,target\n1,\n2,NA\n{ROWS}", "column 'target': every row must have a label, got 2 empty, NA or None"),
        (f"age,target\n1,0.5\n{ROWS}", "column 'target': labels must be whole numbers or text, got 0.5 (1 such rows)"),
        (f"age,target\n1,inf\n{ROWS}", "column 'target': labels must be whole numbers or text, got inf"),
        ("age,target\n" + ",1\n,0\n" * 9, "column 'age': must hold values, got none in any row: drop it"),
        ("target\n" + "1\n0\n" * 9, "must have a column to learn from, got none (the target alone)"),
        (f"age,target\ninf,1\n{ROWS}", "column 'age': must hold finite float32 numbers, got inf"),
        (
            "name,target\n" + "".join(f"pet {n},{n % 2}\n" for n in range(30)),
            "none ('name': 19 different texts in 19 rows)",
        ),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, content: str, said: str):
    (tmp_path / "own.csv").write_text(content)
    assert said in told(tmp_path / "own.csv")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_table_in_another_encoding(tmp_path: Path, encoding: str):
    (tmp_path / "own.csv").write_text(f"stadt,target\nZürich,1\n{ROWS}", encoding=encoding)
    assert "must be UTF-8 text, got byte 0xf" in told(tmp_path / "own.csv")


def test_a_table_with_a_byte_order_mark_is_read(tmp_path: Path):
    (tmp_path / "own.csv").write_text(f"age,target\n{ROWS}", encoding="utf-8-sig")
    assert datasets.load(DataConfig(str(tmp_path / "own.csv"))).preprocessing.columns.columns[0].name == "age"


@pytest.mark.parametrize("n_bytes", [0, 3, 400])
def test_a_parquet_file_that_is_cut_off(tmp_path: Path, n_bytes: int):
    path = tmp_path / "own.parquet"
    pd.DataFrame({"age": range(30), "target": Y}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:n_bytes])
    assert "cannot be read" in told(path)


def test_a_parquet_column_of_lists(tmp_path: Path):
    pd.DataFrame({"pair": [[1, 2]] * 30, "target": Y}).to_parquet(tmp_path / "own.parquet")
    assert "column 'pair': must hold numbers, booleans or text" in told(tmp_path / "own.parquet")


def test_a_target_of_dates(tmp_path: Path):
    frame = pd.DataFrame({"age": range(30), "target": pd.date_range("2020-01-01", periods=30)})
    frame.to_parquet(tmp_path / "own.parquet")
    assert "labels must be all whole numbers or all text, got datetime" in told(tmp_path / "own.parquet")


def test_labels_of_mixed_types():
    with pytest.raises(DataError, match="labels must be all whole numbers or all text, got mixed-integer values"):
        labels_of_column(pd.Series([1, "two", 3], dtype=object), "own.csv, column 'target'")


@pytest.mark.parametrize(("read", "name"), [(read_headers, "own.npz"), (read_table, "own.csv")])
def test_a_file_that_cannot_be_opened(tmp_path: Path, read: Callable[[Path], object], name: str):
    (tmp_path / name).mkdir()  # a folder in a file's place: the one thing that stops root too
    with pytest.raises(UnavailableError, match=rf"{name}: cannot be read \(Is a directory\)"):
        read(tmp_path / name)
