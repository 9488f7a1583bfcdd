"""Small inputs that once gave wrong results or were refused too late: what is read of each, and what is said."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.config import DataConfig
from pipelines.data import datasets, sealed
from pipelines.data.datasets import Dataset
from pipelines.data.splits import share_rows
from pipelines.data.table_encoder import TableEncoder
from pipelines.errors import DataError
from pipelines.files.tables import read_table

N_ROWS = 240
RNG = np.random.default_rng(0)
PRICES = RNG.uniform(1000, 9000, N_ROWS).round(2)
TARGET = np.arange(N_ROWS) % 2


def load(frame: pd.DataFrame, path: Path, **settings: object) -> Dataset:
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return datasets.load(replace(DataConfig(str(path)), **settings))


def table(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({**columns, "noise": RNG.normal(size=N_ROWS), "target": TARGET})


def kinds(dataset: Dataset) -> dict[str, str]:
    return {column.name: column.kind for column in dataset.preprocessing.columns.columns}


FORMATS = {
    "decimal comma": lambda x: f"{x:.2f}".replace(".", ","),
    "thousands": lambda x: f"{x:,.2f}",
    "european": lambda x: f"{x:,.2f}".translate(str.maketrans(",.", ".,")),
    "swiss": lambda x: f"{x:,.2f}".replace(",", "'"),
    "narrow blanks": lambda x: f"{x:,.2f}".replace(",", "\u202f").replace(".", ","),
    "dollars": lambda x: f"${x:,.2f}",
    "euros": lambda x: f"{x:.2f} €".replace(".", ","),
    "code": lambda x: f"CHF {x:.2f}",
    "percent": lambda x: f"{x * 100:.0f}%",
    "blanks": lambda x: f" {x:.2f} kr ",
}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_numbers_in_every_common_form_are_numbers(tmp_path: Path, write, suffix: str):
    plain = load(table(price=PRICES), tmp_path / "plain.csv")
    dataset = load(table(price=[write(x) for x in PRICES]), tmp_path / f"own{suffix}")

    assert np.allclose(dataset.training.x[:, 0], plain.training.x[:, 0], rtol=1e-6)
    assert any("column 'price': texts are read as numbers, " in note for note in dataset.notes)
    column = dataset.preprocessing.columns.columns[0]
    rows = pd.DataFrame({"price": [write(x) for x in PRICES]})
    assert np.allclose(column.encode(rows["price"])[:, 0], PRICES, rtol=1e-6), "predictions read them alike"


def test_numbers_that_a_parquet_file_holds_as_text_are_numbers(tmp_path: Path):
    dataset = load(table(price=PRICES.astype(str), few=(TARGET + 3).astype(str)), tmp_path / "own.parquet")
    assert kinds(dataset) == {"price": "numeric", "few": "numeric", "noise": "numeric"}


@pytest.mark.parametrize("row", range(0, N_ROWS, 60))
@pytest.mark.parametrize("mark", ["?", "-", "unknown", "n.a.", "#DIV/0!"])
def test_a_mark_of_a_missing_number_counts_as_missing_in_every_split(tmp_path: Path, mark: str, row: int):
    prices = PRICES.astype(str).astype(object)
    prices[row] = mark
    dataset = load(table(price=prices), tmp_path / "own.csv")
    assert kinds(dataset)["price"] == "numeric"
    assert any(f"{mark!r} (1 of 240 rows) counts as missing" in note for note in dataset.notes)


@pytest.mark.parametrize("row", range(0, N_ROWS, 60))
@pytest.mark.parametrize(("wrong", "rule"), [("many", "numbers alone"), ("inf", "finite"), ("1e400", "finite")])
def test_what_is_no_number_is_refused_in_every_split(tmp_path: Path, wrong: str, rule: str, row: int):
    prices = PRICES.astype(str).astype(object)
    prices[row] = wrong
    with pytest.raises(DataError, match=rf"column 'price': must hold .*{rule}.*1 such rows, the first {row + 1}\)"):
        load(table(price=prices), tmp_path / "own.csv")


def test_declared_columns_are_what_they_are_declared(tmp_path: Path):
    zips = np.array(["01234", "99501", "00501", "NA"])[np.arange(N_ROWS) % 4]
    frame = table(zip=zips, code=np.where(TARGET, "7", "x"), id=np.arange(N_ROWS))
    noted = load(frame.drop(columns="code").replace("NA", "1"), tmp_path / "noted.csv").notes
    assert any("column 'zip': texts with leading zeros are read as numbers" in note for note in noted)
    dataset = load(frame, tmp_path / "own.csv", text_columns=["zip"], ignore=["id"])

    zip_column, _, left_out = dataset.preprocessing.columns.columns[:3]
    assert zip_column.categories == ("00501", "01234", "99501", "NA")
    assert (left_out.kind, left_out.n_features) == ("ignored", 0)
    encoder = dataset.preprocessing.columns
    rows = read_table(tmp_path / "own.csv", encoder.text_columns, encoder.literal_columns)
    assert encoder.encode(rows)[:4, :4].tolist() == [[0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    with pytest.raises(DataError, match=r"column 'code': must hold numbers alone, got 'x' \(120 such rows"):
        load(frame, tmp_path / "own.csv", numeric=["code"])
    with pytest.raises(DataError, match=r"data.ignore must name columns of the table, got 'idd' \(did you mean 'id'"):
        load(frame, tmp_path / "own.csv", ignore=["idd"])


DAYS = pd.Series(pd.date_range("2020-01-01 06:00", periods=N_ROWS))


@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%b %d, %Y %I:%M %p", ""])
def test_dates_become_features(tmp_path: Path, form: str):
    dates = DAYS.dt.strftime(form) if form else DAYS
    dataset = load(table(when=dates), tmp_path / ("own.csv" if form else "own.parquet"))

    column = dataset.preprocessing.columns.columns[0]
    assert (column.kind, column.n_features) == ("date", 6)
    encoded = column.encode(pd.Series(dates[[0, 31]]))
    assert encoded[:, :5].tolist() == [[2020, 1, 1, 2, 6], [2020, 2, 1, 5, 6]]
    assert encoded[1, 5] - encoded[0, 5] == 31
    assert any("column 'when': dates become the numbers year, month, day" in note for note in dataset.notes)


def test_a_missing_date_is_the_median_of_the_training_rows_with_an_indicator():
    encoder = TableEncoder.learn(pd.DataFrame({"when": DAYS.mask(DAYS.index == 3)}))
    empty, first = encoder.encode(pd.DataFrame({"when": [None, DAYS[0]]}))
    assert (empty[-1], first[-1], first[5]) == (1, 0, 0)
    assert empty[5] == np.float32(np.median([day for day in range(N_ROWS) if day != 3]))


def test_differences_that_float32_would_lose_are_kept(tmp_path: Path):
    times = 1.7e9 + RNG.permutation(N_ROWS * 10)[:N_ROWS] / 10
    dataset = load(table(t=times), tmp_path / "own.csv")

    assert len(np.unique(dataset.training.x[:, 0])) == len(dataset.training.x)
    column = dataset.preprocessing.columns.columns[0]
    assert np.allclose(column.encode(pd.Series(times))[:, 0] + column.offset, times, atol=1e-3)
    assert load(table(t=times - 1.7e9), tmp_path / "plain.csv").preprocessing.columns.columns[0].offset == 0


def test_the_arrays_of_an_archive_are_used_or_named(tmp_path: Path):
    x = RNG.integers(0, 255, (90, 4, 4)).astype(np.uint8)
    own = {"x_train": x, "y_train": np.arange(90) % 3, "x_test": x[:6], "y_test": np.arange(6) % 3}
    np.savez(tmp_path / "own.npz", **own, x_val=x[:9] // 2, y_val=np.arange(9) % 3, sample_weight=np.ones(90))
    config = DataConfig(str(tmp_path / "own.npz"))

    dataset = datasets.load(config)

    assert np.array_equal(dataset.validation.x, x[:9] // 2)
    assert len(dataset.training.y) == 90
    assert np.array_equal(sealed.open_test(config).x, x[:6])
    assert any(note.startswith("array 'sample_weight': not used") for note in dataset.notes)
    assert "6 of 6 test rows equal a training row" in " ".join(dataset.notes)
    np.savez(tmp_path / "own.npz", **own, x_val=x[:9], y_val=np.arange(9))
    with pytest.raises(DataError, match=r"y_val: every label must occur in training, got '3' \(1\), '4' \(1\)"):
        datasets.load(config)


def test_a_parquet_index_is_named(tmp_path: Path):
    dataset = load(table().set_index(pd.Index(PRICES, name="price")), tmp_path / "own.parquet")
    assert dataset.notes == (
        "index 'price': not used; to use it, save the table with its index as a column (reset_index)",
    )


def test_copies_of_rows_are_counted_and_kept_together(tmp_path: Path):
    frame = pd.concat([table(price=PRICES)[:60]] * 6).assign(target=RNG.integers(0, 2, 360))
    dataset = load(frame, tmp_path / "own.csv")
    assert "58 of 58 validation rows equal a training row" in " ".join(dataset.notes)

    config = DataConfig(str(tmp_path / "own.csv"), duplicates="group")
    grouped, test = datasets.load(config), sealed.open_test(config)
    parts = [{row.tobytes() for row in x} for x in (grouped.training.x, grouped.validation.x, test.x)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 60
    assert 0.1 < len(grouped.validation.y) / 360 < 0.25
    assert not grouped.notes
    assert grouped.fingerprint != dataset.fingerprint


def test_groups_are_warned_of_and_kept_together(tmp_path: Path):
    patient = np.arange(N_ROWS) // 6
    frame = table(patient=[f"p{number}" for number in patient]).assign(target=patient % 2, x=patient)
    noted = load(frame, tmp_path / "own.csv").notes
    assert any("column 'patient': all rows with one of its 40 values have the same label" in note for note in noted)
    config = DataConfig(str(tmp_path / "own.csv"), groups="patient")
    dataset, test = datasets.load(config), sealed.open_test(config)
    parts = [set(split.x[:, -1]) for split in (dataset.training, dataset.validation, test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 40


def test_row_numbers_are_named(tmp_path: Path):
    notes = load(table(id=np.arange(N_ROWS)), tmp_path / "own.csv").notes
    assert len(notes) == 1
    assert notes[0].startswith("column 'id': whole numbers that differ in every row")


SHARED = {
    "decimal_comma.csv": "column 'price': texts are read as numbers, '697,22' as 697.22",
    "q_in_test.csv": "'?' (1 of 240 rows) counts as missing",
    "num_as_text.parquet": "column 'price': texts are read as numbers",
    "weights.npz": "array 'groups': not used",
    "dup.csv": "58 of 58 validation rows equal a training row",
    "idleak.csv": "column 'id': whole numbers that differ in every row",
    "groups.csv": "column 'patient': all rows with one of its 100 values have the same label",
    "trailing_space_labels.csv": "blanks around labels are removed",
    "case_labels.csv": "labels 'YES', 'Yes' differ by case alone",
    "dates.csv": "column 'when': dates become the numbers",
    "ts.parquet": "column 'ts': dates become the numbers",
    "indexed.parquet": "index 'x1': not used",
    "na_label.csv": "the texts 'NA' (120 rows) are labels, not missing",
    "zip.csv": "column 'zip': texts with leading zeros are read as numbers",
    "semicolon.csv": "column 'x1': texts are read as numbers, '0,1257' as 0.1257",
}


@pytest.mark.parametrize(("name", "note"), SHARED.items(), ids=SHARED)
def test_a_shared_case_is_read_and_a_line_says_how(cases: Path, name: str, note: str):
    assert any(note in line for line in datasets.load(DataConfig(str(cases / name))).notes)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("testnewlabel.npz", "y_test: every label must occur in training, got '2' (18)"),
        ("inf_in_test.csv", "column 'price': must hold finite float32 numbers, got inf (1 such rows, the first 51)"),
        ("multilabel.npz", "several labels a row are not supported"),
        ("regression.csv", "labels must be whole numbers or text, got 1.67"),
    ],
)
def test_a_shared_case_is_refused_when_the_file_is_read(cases: Path, name: str, message: str):
    with pytest.raises(DataError) as caught:
        datasets.load(DataConfig(str(cases / name)))
    assert message in str(caught.value)
    assert "argmax" not in str(caught.value)


def test_the_same_shared_table_is_read_from_each_form(cases: Path):
    tables = [datasets.load(DataConfig(str(cases / name))) for name in ("semicolon.csv", "tabs.csv", "base.csv.gz")]
    assert all(np.array_equal(tables[0].training.x, other.training.x) for other in tables)
    own = datasets.load(DataConfig(str(cases / "ownval.npz")))
    assert (len(own.training.y), len(own.validation.y), own.n_test) == (200, 50, 50)
    times = datasets.load(DataConfig(str(cases / "ts.csv"))).training.x[:, 0]
    assert len(np.unique(times)) > 1500
    declared = datasets.load(DataConfig(str(cases / "zip.csv"), text_columns=["zip"]))
    assert declared.preprocessing.columns.columns[-1].categories == ("00501", "01234", "60601", "99501")


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


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_every_separator_is_read_and_compressed_files_too(tmp_path: Path, separator: str):
    frame = table(price=PRICES, city=np.where(TARGET, "Oslo; or", "a, b"))
    decimal = "," if separator == ";" else "."
    content = frame.to_csv(sep=separator, decimal=decimal, index=False).encode()
    (tmp_path / "own.csv").write_bytes(content)
    (tmp_path / "own.csv.gz").write_bytes(gzip.compress(content))
    plain = load(frame, tmp_path / "plain.csv")
    for name in ("own.csv", "own.csv.gz"):
        dataset = datasets.load(DataConfig(str(tmp_path / name)))
        assert dataset.name == "own"
        assert np.array_equal(dataset.training.x, plain.training.x)


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08\x00 cut", gzip.compress(b"a,target\n" + b"1,2\n" * 99)[:-9]])
def test_a_damaged_compressed_table_gives_one_line(tmp_path: Path, content: bytes):
    (tmp_path / "own.csv.gz").write_bytes(content)
    with pytest.raises(DataError) as caught:
        datasets.load(DataConfig(str(tmp_path / "own.csv.gz")))
    assert "\n" not in str(caught.value)


def test_blanks_do_not_matter_and_unknown_texts_are_found():
    encoder = TableEncoder.learn(pd.DataFrame({"city": ["Rome", "Oslo"] * 20, "age": range(40)}))
    rows = pd.DataFrame({"city": [" Rome ", "Tokyo", None, "oslo"], "age": 1})
    assert encoder.encode(rows)[:, :2].tolist() == [[0, 1], [0, 0], [0, 0], [0, 0]]
    assert encoder.unknown(rows) == {"city": [None, "Tokyo", None, "oslo"]}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_rare", [3, 4, 5])
def test_a_rare_class_reaches_every_split(seed: int, n_rare: int):
    numbers = np.r_[np.zeros(150, int), np.ones(90, int), np.full(n_rare, 2)]
    shares = share_rows(numbers, ("a", "b", "c"), DataConfig("x", split_seed=seed), "labels")
    for rows in (shares.training, shares.validation, shares.test):
        assert set(numbers[rows]) == {0, 1, 2}
    together = np.concatenate([shares.training, shares.validation, shares.test])
    assert sorted(together) == list(range(len(numbers)))


def test_a_column_of_a_model_of_an_earlier_version_is_read():
    record = {"name": "age", "kind": "numeric", "median": 2.0, "indicator": True, "categories": [], "reason": ""}
    encoder = TableEncoder.from_json([record])
    assert encoder.encode(pd.DataFrame({"age": [1.0, None]})).tolist() == [[1, 0], [2, 1]]
