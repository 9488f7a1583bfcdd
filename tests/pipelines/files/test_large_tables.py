"""A large ``.parquet`` file is announced, and read and encoded in pieces to the same rows as a small one."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from pipelines.config import DataConfig
from pipelines.data import loading, sealed
from pipelines.data.description import describe
from pipelines.encoding import encoder
from pipelines.errors import DataError, UnavailableError
from pipelines.files import tables
from pipelines.files.tables import large as large_table, parquet_files

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
    small = loading.load(config, note=said.append)
    assert not any("need about" in line for line in said)

    monkeypatch.setattr(parquet_files, "LARGE", N_ROWS)
    monkeypatch.setattr(encoder, "_CHUNK_ROWS", 64)
    large = loading.load(config, note=said.append)
    (line,) = (x for x in said if "need about" in x)
    assert f"{path}: 300 rows by 7 columns need about 0.0 GB of memory" in line
    described: list[str] = []
    describe(config, note=described.append)
    assert [x.partition(" GB of memory")[0] for x in described] == [line.partition(" GB of memory")[0]]
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


def write_all_types(path: Path) -> None:
    """Columns whose first rows do not tell the type of all: gaps come late, or values do."""
    rng = np.random.default_rng(1)
    late, early = np.arange(N_ROWS) > 200, np.arange(N_ROWS) < 200
    days = pd.date_range("2020-01-01", periods=N_ROWS)
    frame = pd.DataFrame(
        {
            "whole": pd.array(np.where(late, None, rng.integers(0, 99, N_ROWS)), dtype="Int64"),
            "flag": pd.array(np.where(late, None, rng.random(N_ROWS) < 0.5), dtype="boolean"),
            "word": np.where(early, None, rng.choice(["a", " b "], N_ROWS)),
            "kind": pd.Categorical(rng.choice(["x", "y", "z"], N_ROWS)),
            "price": [f"{value:.2f} €".replace(".", ",") for value in rng.random(N_ROWS)],
            "day": days.date,
            "moment": days.tz_localize("Europe/Oslo"),
            "told": days.strftime("%d.%m.%Y"),
            "patient": [f"p{row // 6}" for row in range(N_ROWS)],
            "target": np.where(np.arange(N_ROWS) // 6 % 2, "yes", "no "),
        }
    )
    frame.to_parquet(path, row_group_size=90)


def test_parts_have_the_types_of_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "own.parquet"
    write_all_types(path)
    config = DataConfig(str(path))
    small, small_test, told = loading.load(config), sealed.open_test(config), describe(config)
    monkeypatch.setattr(parquet_files, "LARGE", N_ROWS)
    monkeypatch.setattr(large_table, "ROWS", 64)
    large, test = loading.load(config), sealed.open_test(config)
    assert large.fingerprint == small.fingerprint
    assert large.preprocessing == small.preprocessing
    assert large.notes == small.notes
    assert any("'patient': all rows with one of its 50 values have the same label" in note for note in large.notes)
    for one, other in ((large.training, small.training), (large.validation, small.validation), (test, small_test)):
        assert np.array_equal(one.x, other.x)
        assert np.array_equal(one.y, other.y)
    assert describe(config) == told
    monkeypatch.setattr(large_table, "ROWS", N_ROWS)
    assert test.digest == sealed.open_test(config).digest, "whatever the number of rows of a part"


def test_rows_do_not_exist_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Arrow's memory, which is not counted, is that of a column, or of some pages of five."""
    n_rows, n_columns = 100_000, 20
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({f"x{number}": rng.normal(size=n_rows) for number in range(n_columns)})
    frame["target"] = rng.integers(0, 3, n_rows)
    path = tmp_path / "own.parquet"
    frame.to_parquet(path, row_group_size=20_000)
    del frame
    monkeypatch.setattr(parquet_files, "LARGE", n_rows)
    monkeypatch.setattr(large_table, "ROWS", 4096)
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    dataset = loading.load(DataConfig(str(path)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    kept = sum(split.x.nbytes + split.y.nbytes for split in (dataset.training, dataset.validation))
    assert pa.total_allocated_bytes() == before
    assert peak < 1.3 * kept


def test_a_file_that_is_written_to_while_it_is_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "own.parquet"
    write(path)
    monkeypatch.setattr(parquet_files, "LARGE", N_ROWS)
    table = tables.open_table(path)
    write(path, compression="gzip")
    with pytest.raises(UnavailableError, match="was written to while it was read: run the command again"):
        table["number"]


def test_a_file_that_is_damaged_further_on_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "own.parquet"
    write(path)
    start = parquet.ParquetFile(path).metadata.row_group(3).column(1).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 50] = bytes(50)
    path.write_bytes(bytes(content))
    monkeypatch.setattr(parquet_files, "LARGE", N_ROWS)
    with pytest.raises(DataError, match=r"own\.parquet: cannot be read as a table \("):
        loading.load(DataConfig(str(path)))


def test_a_file_for_which_there_is_no_memory_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "own.parquet"
    write(path)
    monkeypatch.setattr(parquet_files, "LARGE", N_ROWS)
    monkeypatch.setattr(parquet_files, "_NEEDED_BYTES", 10**12)
    with pytest.raises(DataError, match=r"300 rows by 7 columns need about 2100000\.0 GB .* use fewer rows or columns"):
        loading.load(DataConfig(str(path)))
