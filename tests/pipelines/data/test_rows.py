"""Rows and labels: copies, groups, row numbers, labels that look alike, rare classes, arrays and indexes."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_tables import N_ROWS, PRICES, RNG, TARGET, load, table

from pipelines.config import DataConfig
from pipelines.data import loading, sealed
from pipelines.data.splits import share_rows
from pipelines.errors import DataError
from pipelines.files.tables import parquet_files


def test_the_arrays_of_an_archive_are_used_or_named(tmp_path: Path):
    x = RNG.integers(0, 255, (90, 4, 4)).astype(np.uint8)
    own = {"x_train": x, "y_train": np.arange(90) % 3, "x_test": x[:6], "y_test": np.arange(6) % 3}
    np.savez(tmp_path / "own.npz", **own, x_val=x[:9] // 2, y_val=np.arange(9) % 3, sample_weight=np.ones(90))
    config = DataConfig(str(tmp_path / "own.npz"))

    dataset = loading.load(config)

    assert np.array_equal(dataset.validation.x, x[:9] // 2)
    assert len(dataset.training.y) == 90
    assert np.array_equal(sealed.open_test(config).x, x[:6])
    assert any("array 'sample_weight', data.weight: all weights are equal" in note for note in dataset.notes)
    assert "6 of 6 test rows equal a training row" in " ".join(dataset.notes)
    np.savez(tmp_path / "own.npz", **own, x_val=x[:9], y_val=np.arange(9))
    with pytest.raises(DataError, match=r"y_val: every label must occur in training, got '3' \(1\), '4' \(1\)"):
        loading.load(config)


def test_a_parquet_index_is_named(tmp_path: Path):
    dataset = load(table().set_index(pd.Index(PRICES, name="price")), tmp_path / "own.parquet")
    assert dataset.notes == (
        "index 'price': not used; to use it, save the table with its index as a column (reset_index)",
    )


def test_copies_of_rows_are_counted_and_kept_together(tmp_path: Path):
    labels = np.random.default_rng(0).integers(0, 2, 360)
    frame = pd.concat([table(price=PRICES)[:60]] * 6).assign(target=labels)
    dataset = load(frame, tmp_path / "own.csv")
    assert "58 of 58 validation rows equal a training row" in " ".join(dataset.notes)

    config = DataConfig(str(tmp_path / "own.csv"), duplicates="group")
    grouped, test = loading.load(config), sealed.open_test(config)
    parts = [{row.tobytes() for row in x} for x in (grouped.training.x, grouped.validation.x, test.x)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 60
    assert 0.1 < len(grouped.validation.y) / 360 < 0.25
    assert not grouped.notes
    assert grouped.fingerprint != dataset.fingerprint


@pytest.mark.parametrize("is_large", [False, True])
def test_copies_that_differ_in_ignored_columns_are_kept_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_large: bool
):
    """A declared column, texts that identify rows, and a saved index: no network sees any of them."""
    if is_large:
        monkeypatch.setattr(parquet_files, "LARGE", 360)
    frame = pd.concat([table(price=PRICES)[:60]] * 6, ignore_index=True)
    texts = [f"row {row}" for row in range(360)]
    frame = frame.assign(note=texts, name=texts, target=np.random.default_rng(0).integers(0, 2, 360))
    frame.insert(0, "Unnamed: 0", range(360))
    path = tmp_path / ("own.parquet" if is_large else "own.csv")
    dataset = load(frame, path, ignore=("note",))
    assert "58 of 58 validation rows equal a training row" in " ".join(dataset.notes)

    config = DataConfig(str(path), ignore=("note",), duplicates="group")
    grouped, test = loading.load(config), sealed.open_test(config)
    parts = [{row.tobytes() for row in x} for x in (grouped.training.x, grouped.validation.x, test.x)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 60
    assert not any("equal a training row" in note for note in grouped.notes)


def test_a_table_of_ignored_columns_alone_says_so_beside_duplicates_too(tmp_path: Path):
    ignore = ("price", "noise")
    with pytest.raises(DataError, match="must have a column to learn from, got none"):
        load(table(price=PRICES), tmp_path / "own.csv", ignore=ignore, duplicates="group")


def test_equal_rows_of_two_groups_are_no_copies(tmp_path: Path):
    """Nor does a line advise ``duplicates``, which is refused beside ``group``."""
    frame = pd.concat([table(price=PRICES)[:60]] * 4).assign(site=np.arange(240) // 60, noise=1.0)
    notes = load(frame, tmp_path / "own.csv", group="site").notes
    assert not any("equal a training row" in note for note in notes)


@pytest.mark.parametrize("splits", [("val", "test"), ("val",), ("test",)])
def test_duplicates_are_advised_and_used_where_rows_are_drawn(tmp_path: Path, splits: tuple[str, ...]):
    copies = np.tile(RNG.normal(size=(60, 3)), (6, 1))
    labels = np.arange(360) // 6 % 2
    arrays = {"x_train": copies, "y_train": labels}
    arrays |= {f"x_{name}": copies[:30] for name in splits} | {f"y_{name}": labels[:30] for name in splits}
    np.savez(path := tmp_path / "own.npz", **arrays)

    (validation, test) = (note for note in loading.load(DataConfig(str(path))).notes if "equal a training row" in note)
    assert ("data.duplicates" in validation, "data.duplicates" in test) == ("val" not in splits, "test" not in splits)

    notes = loading.load(DataConfig(str(path), duplicates="group")).notes
    unused = "data.duplicates: not used, got group, but no row is drawn at random"
    assert (unused in notes) == (len(splits) == 2)
    assert not any('data.duplicates = "group" keeps' in note for note in notes)


def test_groups_are_warned_of_and_kept_together(tmp_path: Path):
    patient = np.arange(N_ROWS) // 6
    frame = table(patient=[f"p{number}" for number in patient]).assign(target=patient % 2, x=patient)
    noted = load(frame, tmp_path / "own.csv").notes
    assert any("column 'patient': all rows with one of its 40 values have the same label" in note for note in noted)
    config = DataConfig(str(tmp_path / "own.csv"), group="patient", scaling="none")
    dataset, test = loading.load(config), sealed.open_test(config)
    parts = [set(split.x[:, -1]) for split in (dataset.training, dataset.validation, test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 40


@pytest.mark.parametrize("has_gap", [False, True])
def test_row_numbers_are_named(has_gap: bool, tmp_path: Path):
    ids = pd.Series(np.arange(N_ROWS), dtype="Int64")
    notes = load(table(id=ids.mask(ids == 7) if has_gap else ids), tmp_path / "own.csv").notes
    assert len(notes) == 1
    assert notes[0].startswith("column 'id': whole numbers that differ in every row")


@pytest.mark.parametrize(
    ("labels", "classes", "note"),
    [
        (["yes ", "yes", "no", " no"], ("no", "yes"), "blanks around labels are removed"),
        (
            ["YES", "Yes", "no", "no"],
            ("YES", "Yes", "no"),
            "labels 'YES', 'Yes' differ by case alone and are",
        ),
        (["NA", "EU", "NA", "EU"], ("EU", "NA"), "the texts 'NA' (120 rows) are labels, not missing"),
    ],
)
def test_labels_are_told_apart(tmp_path: Path, labels: list[str], classes: tuple[str, ...], note: str):
    dataset = load(table().assign(target=labels * 60), tmp_path / "own.csv")
    assert dataset.class_names == classes
    assert any(note in line for line in dataset.notes)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_rare", [3, 4, 5])
def test_a_rare_class_reaches_every_split(seed: int, n_rare: int):
    numbers = np.r_[np.zeros(150, int), np.ones(90, int), np.full(n_rare, 2)]
    shares = share_rows(numbers, ("a", "b", "c"), DataConfig("x", split_seed=seed), "labels")
    for rows in (shares.training, shares.validation, shares.test):
        assert set(numbers[rows]) == {0, 1, 2}
    together = np.concatenate([shares.training, shares.validation, shares.test])
    assert sorted(together) == list(range(len(numbers)))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_every_separator_is_read_and_compressed_files_too(tmp_path: Path, separator: str):
    frame = table(price=PRICES, city=np.where(TARGET, "Oslo; or", "a, b"))
    decimal = "," if separator == ";" else "."
    content = frame.to_csv(sep=separator, decimal=decimal, index=False).encode()
    (tmp_path / "own.csv").write_bytes(content)
    (tmp_path / "own.csv.gz").write_bytes(gzip.compress(content, mtime=0))
    plain = load(frame, tmp_path / "plain.csv")
    for name in ("own.csv", "own.csv.gz"):
        dataset = loading.load(DataConfig(str(tmp_path / name)))
        assert dataset.name == "own"
        assert np.array_equal(dataset.training.x, plain.training.x)


@pytest.mark.parametrize(
    "content", [b"", b"\x1f\x8b\x08\x00 cut", gzip.compress(b"a,target\n" + b"1,2\n" * 99, mtime=0)[:-9]]
)
def test_a_damaged_compressed_table_gives_one_line(tmp_path: Path, content: bytes):
    (tmp_path / "own.csv.gz").write_bytes(content)
    with pytest.raises(DataError) as caught:
        loading.load(DataConfig(str(tmp_path / "own.csv.gz")))
    assert "\n" not in str(caught.value)
