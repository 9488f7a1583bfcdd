"""Archives that cannot be used and files that cannot be opened: each gives one clear line."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from refusals import X, Y, load_damaged, load_error

from pipelines.config import DataConfig
from pipelines.data import loading
from pipelines.errors import DataError, NotFoundError, UnavailableError
from pipelines.files.archives import read_headers
from pipelines.files.tables import read_table


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"x": X}, "or x and y, got x: add y"),
        ({"rows": X}, "got rows: add x_train and y_train"),
        ({"x_train": X, "y_train": Y, "x_test": X}, "got x_train, y_train, x_test: add y_test"),
        ({"x": X, "y": Y[:7]}, "x and y must have as many rows, got shapes (30, 2) and (7,)"),
        ({"x": X[:0], "y": Y[:0]}, "x must be (n_rows, n_features, ...), none of them 0, got shape (0, 2)"),
        ({"x": X[:, :0], "y": Y}, "none of them 0, got shape (30, 0)"),
        ({"x": X[:, 0], "y": Y}, "x must be (n_rows, n_features, ...), none of them 0, got shape (30,)"),
        (
            {"x": X, "y": np.eye(10)[Y] + np.eye(10)[3]},
            "y must be (n_rows,), got shape (30, 10): several labels a row are not supported, train a model for each",
        ),
        ({"x": X, "y": np.eye(10)[Y]}, "y must be (n_rows,), got shape (30, 10): use class numbers, y.argmax(axis=1)"),
        ({"x": X, "y": np.zeros((30, 1, 1))}, "y must be (n_rows,), got shape (30, 1, 1)"),
        ({"x": X, "y": np.where(Y, np.nan, 1)}, "every row must have a label, got 15 NaN"),
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
def test_arrays_that_cannot_be_used(tmp_path: Path, arrays: dict[str, np.ndarray], expected: str):
    np.savez(tmp_path / "own.npz", **arrays)
    assert expected in load_error(tmp_path / "own.npz")


def test_all_problems_of_an_archive_are_reported_at_once(tmp_path: Path):
    np.savez(tmp_path / "own.npz", x_train=X + 1j, y_train=Y[:, None, None], x_test=X[:3], y_test=Y)
    with pytest.raises(DataError) as caught:
        loading.load(DataConfig(str(tmp_path / "own.npz")))
    assert len(caught.value.problems) == 3


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def npy(array: np.ndarray, shape: tuple[int, ...] | None = None) -> bytes:
    """An array as NumPy writes it, under a header with another shape."""
    file = io.BytesIO()
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": shape or array.shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + array.tobytes()


def test_an_archive_larger_than_memory_is_not_read(tmp_path: Path):
    path = archive(tmp_path / "bomb.npz", x=npy(X, (10**9, 10**6)), y=npy(Y, (10**9,)))
    assert "rows and one copy of them must fit in memory, got 8000016.0 GB where" in load_error(path)


def test_test_arrays_larger_than_memory_are_not_read(tmp_path: Path):
    test = {"x_test": npy(X, (10**12, 2)), "y_test": npy(Y, (10**12,))}
    assert "must fit in memory" in load_error(archive(tmp_path / "bomb.npz", x_train=npy(X), y_train=npy(Y), **test))


def test_a_huge_header_is_not_read(tmp_path: Path):
    n_bytes = 1 << 26
    header = b"\x93NUMPY\x02\x00" + n_bytes.to_bytes(4, "little") + bytes(n_bytes)
    path = archive(tmp_path / "header.npz", x=header)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"complete \.npz archive"):
            read_headers(path)
        assert tracemalloc.get_traced_memory()[1] < n_bytes / 8
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", [(29, 2), (31, 2)])
def test_an_archive_with_a_wrong_size_is_refused(tmp_path: Path, shape: tuple[int, ...]):
    path = archive(tmp_path / "odd.npz", x=npy(X, shape), y=npy(np.resize(Y, shape[0])))
    assert f"x must hold {shape[0] * 8} bytes, got 240: write the file again" in load_error(path)


@pytest.mark.parametrize("content", [b"", b"x,y\n1,2\n", b"PK\x03\x04 and no more"])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "own.npz").write_bytes(content)
    assert "must be a complete .npz archive, got BadZipFile" in load_error(tmp_path / "own.npz")


def test_a_truncated_archive_is_refused(tmp_path: Path):
    np.savez_compressed(tmp_path / "own.npz", x=X, y=Y)
    (tmp_path / "own.npz").write_bytes((tmp_path / "own.npz").read_bytes()[:-40])
    assert "must be a complete .npz archive" in load_error(tmp_path / "own.npz")


@settings(max_examples=200)
@given(data=st.data())
def test_a_damaged_archive_is_never_a_traceback(tmp_path_factory, data: st.DataObject):
    path = tmp_path_factory.mktemp("damaged") / "own.npz"
    np.savez_compressed(path, x_train=X, y_train=Y, x_test=X, y_test=Y)
    load_damaged(path, data)


def test_a_file_that_does_not_exist(tmp_path: Path):
    assert "no such file" in load_error(tmp_path / "gone.npz", NotFoundError)
    (tmp_path / "folder.csv").mkdir()
    assert "must be a file, got the folder" in load_error(tmp_path / "folder.csv", DataError)


@pytest.mark.parametrize(("read", "name"), [(read_headers, "own.npz"), (read_table, "own.csv")])
def test_a_file_that_cannot_be_opened(tmp_path: Path, read: Callable[[Path], object], name: str):
    (tmp_path / name).mkdir()  # a folder in a file's place: the one thing that stops root too
    with pytest.raises(UnavailableError, match=rf"{name}: cannot be read \(Is a directory\)"):
        read(tmp_path / name)


@pytest.mark.parametrize("is_shifted", [False, True])
def test_test_rows_are_drawn_beside_many_or_shifted_validation_rows(tmp_path: Path, is_shifted: bool):
    """The quantiles of the target by which they are drawn are those of the rows that they are drawn from."""
    rng = np.random.default_rng(0)
    n_training, n_validation = (300, 300) if is_shifted else (40, 400)
    y = np.append(rng.random(n_training - 1), 10.5)
    arrays = {"x_train": rng.normal(size=(n_training, 3)), "y_train": y, "x_val": rng.normal(size=(n_validation, 3))}
    np.savez(tmp_path / "own.npz", **arrays, y_val=rng.random(n_validation) + 10 * is_shifted)
    dataset = loading.load(DataConfig(str(tmp_path / "own.npz")))
    assert (len(dataset.training.y), len(dataset.validation.y), dataset.n_test) == (
        n_training * 4 // 5, n_validation, n_training // 5,
    )  # fmt: skip
