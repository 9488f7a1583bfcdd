"""Columns of a table that say how rows are weighted and split."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from small_tables import N_ROWS, RNG, TARGET, load, table

from pipelines.config import DataConfig
from pipelines.data import datasets, loading, sealed
from pipelines.data.datasets import Dataset, Split
from pipelines.data.sealed import SealedRows
from pipelines.errors import DataError

ROW = np.arange(N_ROWS)
WEIGHT = RNG.uniform(0.5, 2, N_ROWS)
GROUP = ROW // 6
PART = np.array(["Training", "train", " VALID", "Dev", "test", "train"])[ROW % 6]
VALUES = {"classification": TARGET, "regression": RNG.normal(size=N_ROWS)}


def read(path: Path, frame: pd.DataFrame, **settings: object) -> tuple[Dataset, SealedRows]:
    """Reads a table whose column ``row`` numbers the rows, and is no feature of its own beside it."""
    dataset = load(frame, path, scaling="minmax", **settings)
    return dataset, sealed.open_test(DataConfig(str(path), scaling="minmax", **settings))


def rows_of(split: Split, dataset: Dataset) -> np.ndarray:
    names = [column.name for column in dataset.preprocessing.columns.columns if column.n_features]
    return split.x[:, names.index("row")].astype(int)


def splits(dataset: Dataset, test: SealedRows) -> list[np.ndarray]:
    return [rows_of(split, dataset) for split in (dataset.training, dataset.validation, test)]


@pytest.mark.parametrize("task", VALUES)
def test_weights_have_mean_one_in_each_split_and_are_no_feature(tmp_path: Path, task: str):
    frame = table(row=ROW, w=WEIGHT).assign(target=VALUES[task])
    dataset, test = read(tmp_path / "own.csv", frame, weight="w")
    for split, rows in zip((dataset.training, dataset.validation, test), splits(dataset, test), strict=True):
        assert split.weight.dtype == np.float32
        assert split.weight == pytest.approx(WEIGHT[rows] / WEIGHT[rows].mean(), rel=1e-5)
    assert dataset.input_shape == (2,)
    assert "column 'w': ignored, in data.weight" in dataset.notes
    joined, rows = dataset.training.joined(dataset.validation), np.concatenate(splits(dataset, test)[:2])
    assert joined.weight == pytest.approx(WEIGHT[rows] / WEIGHT[rows].mean(), rel=1e-5), "as the source weighs them"
    assert dataset.fingerprint != load(frame, tmp_path / "own.csv", scaling="minmax").fingerprint


@pytest.mark.parametrize("weight", [1, 0.25, "0.5", True])
def test_equal_weights_are_none(tmp_path: Path, weight: object):
    frame = table(row=ROW)
    plain = load(frame, tmp_path / "own.csv", scaling="minmax")
    dataset, test = read(tmp_path / "own.csv", frame.assign(w=weight), weight="w")
    for split, other in ((dataset.training, plain.training), (dataset.validation, plain.validation)):
        assert split.weight is None
        assert split.x.tobytes() == other.x.tobytes()
        assert split.y.tobytes() == other.y.tobytes()
    assert test.weight is None
    assert any("all weights are equal" in note for note in dataset.notes)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("task", VALUES)
@pytest.mark.parametrize("time", ["dates", "texts", "numbers", "ties"])
def test_time_puts_later_rows_into_later_splits(tmp_path: Path, kind: str, task: str, time: str):
    days = pd.Timestamp("2024-01-30") + pd.to_timedelta(RNG.permutation(N_ROWS), "D")
    times = {"dates": days, "texts": days.strftime("%d.%m.%Y"), "numbers": days.dayofyear + days.year * 1000}
    times["ties"] = RNG.permutation(N_ROWS) // 29
    order = pd.Series(times["ties"] if time == "ties" else days)
    frame = table(row=ROW, when=times[time]).assign(target=VALUES[task])
    dataset, test = read(tmp_path / f"own.{kind}", frame, time="when")
    training, validation, held_out = splits(dataset, test)
    assert order[training].max() < order[validation].min()
    assert order[validation].max() < order[held_out].min()
    assert sorted(np.concatenate([training, validation, held_out])) == list(ROW)
    assert len(held_out) == pytest.approx(0.2 * N_ROWS, abs=15)
    assert any("'when': it stays a feature" in note for note in dataset.notes)
    ignored, _ = read(tmp_path / f"own.{kind}", frame, time="when", ignore=["when"])
    assert rows_of(ignored.training, ignored).tolist() == training.tolist()


@pytest.mark.parametrize("task", VALUES)
def test_a_column_says_what_each_row_is(tmp_path: Path, task: str):
    frame = table(row=ROW, part=PART).assign(target=VALUES[task])
    dataset, test = read(tmp_path / "own.parquet", frame, split="part")
    training, validation, held_out = splits(dataset, test)
    words = np.char.lower(np.char.strip(PART))
    assert set(words[training]) == {"training", "train"}
    assert set(words[validation]) == {"valid", "dev"}
    assert set(words[held_out]) == {"test"}


@pytest.mark.parametrize("task", VALUES)
@pytest.mark.parametrize("absent", ["validation", "test"])
def test_splits_that_a_column_lacks_are_drawn_from_the_training_rows(tmp_path: Path, task: str, absent: str):
    part = np.where(ROW % 6 == 5, {"validation": "test", "test": "val"}[absent], "train")
    frame = table(row=ROW, part=part, patient=GROUP % 5).assign(target=VALUES[task])
    dataset, test = read(tmp_path / "own.csv", frame, split="part")
    training, validation, held_out = splits(dataset, test)
    given, drawn = (held_out, validation) if absent == "validation" else (validation, held_out)
    assert sorted(given) == [row for row in ROW if row % 6 == 5]
    assert len(drawn) == 40
    assert not set(training) & set(drawn)
    assert any(f"no row is a {absent} row, so data.{absent}_fraction" in note for note in dataset.notes)


@pytest.mark.parametrize("task", VALUES)
def test_groups_stay_in_one_split(tmp_path: Path, task: str):
    frame = table(row=ROW, patient=[f"p{number}{' ' * (row % 2)}" for row, number in enumerate(GROUP)])
    dataset, test = read(tmp_path / "own.parquet", frame.assign(target=VALUES[task]), group="patient")
    parts = [set(GROUP[rows]) for rows in splits(dataset, test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 40


def test_a_patient_is_not_recognized_again(cases: Path):
    """Labels that are random for each patient cannot be learned, unless a patient's rows stand in several splits."""
    from sklearn.neighbors import KNeighborsClassifier

    def accuracy(**settings: object) -> float:
        found = []
        for seed in range(8):
            config = DataConfig(str(cases / "groups.csv"), split_seed=seed, scaling="minmax", **settings)
            dataset, test = loading.load(config), sealed.open_test(config)
            model = KNeighborsClassifier(1).fit(dataset.training.x[:, :12], dataset.training.y)
            found.append(model.score(test.x[:, :12], test.y))
        return float(np.mean(found))

    assert accuracy() > 0.75
    assert accuracy(group="patient") == pytest.approx(0.5, abs=0.1)


def test_copies_are_found_whatever_their_weights_and_splits(tmp_path: Path):
    frame = pd.concat([table(row=ROW)[:59]] * 4).assign(w=WEIGHT[:236], part=PART[:236])
    dataset = load(frame, tmp_path / "own.csv", weight="w", split="part")
    assert any("test rows equal a training row" in note for note in dataset.notes)


def test_no_line_advises_duplicates_where_a_column_splits_the_rows(tmp_path: Path):
    """``duplicates`` is refused beside ``split``."""
    frame = pd.concat([table(row=ROW)[:59]] * 4).assign(part=PART[:236])
    notes = load(frame, tmp_path / "own.csv", split="part").notes
    assert not any("data.duplicates" in note for note in notes)


CELLS = st.none() | st.sampled_from([
    "", "a", "train", "val", "test", "NA", "?", "1", "-1", "0", "inf", "1e400", "0,5", "2024-01-05", "5.1.2024", "é",
    "2024-13-45", "12:30", "true", "False", " ", "\x00", "1_000", "nan", "12 %", "(3)", "9" * 30,
])  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    cells=st.lists(CELLS, min_size=1, max_size=4),
    role=st.sampled_from(["weight", "group", "time", "split"]),
    kind=st.sampled_from(["csv", "parquet", "npz"]),
    is_real=st.booleans(),
)
def test_any_column_is_read_or_refused_in_one_line(
    tmp_path_factory, cells: list[str | None], role: str, kind: str, is_real: bool
):
    path = tmp_path_factory.getbasetemp() / f"any.{kind}"
    frame = pd.DataFrame({"x": ROW[:40] % 7, "c": (cells * 40)[:40], "target": VALUES["regression"][:40]})
    frame = frame if is_real else frame.assign(target=TARGET[:40])
    if kind == "npz":
        np.savez(path, x=frame[["x"]], y=frame.target, c=frame.c.fillna("").astype(str).to_numpy(str))
    else:
        frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    config = DataConfig(str(path), **{role: "c"})
    try:
        loading.load(config)
        sealed.open_test(config)
    except DataError as error:  # it may also load
        assert all("\n" not in problem for problem in error.problems)  # noqa: PT017


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        # pandas reads -1 as a year, but half of the cells are numbers.
        (["-1", "2024-01-05"] * 20, "'-1' (40 such rows, the first 1, 2, 3)"),
        ([f"{1900 + year}-01-05" for year in range(240)] + [f"later {n}" for n in range(60)],
         "'later 0' (60 such rows, the first 241, 242, 243)"),
    ],
    ids=["each is read", "behind many dates"],
)  # fmt: skip
def test_a_time_that_is_neither_names_a_value(tmp_path: Path, cells: list[str], shown: str) -> None:
    rows = np.arange(len(cells))
    pd.DataFrame({"x": rows % 7, "c": cells, "target": rows % 2}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=re.escape(f"must hold dates or numbers, got {shown}: correct them")):
        loading.load(DataConfig(str(tmp_path / "t.csv"), time="c", target="target"))


TYPED = {
    "decimal": [Decimal(1), Decimal("2.5"), Decimal(3)],
    "categories": pd.Categorical(["train", "val", "test"]),
    "dates": [date(2024, 1, 1), date(2024, 1, 2), date(2024, 2, 3)],
    "zones": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"]).tz_localize("Europe/Berlin"),
    "durations": pd.to_timedelta([1, 2, 3], "h"),
    "nullable": pd.array([1, 2, 3], dtype="Int64"),
    "booleans": pd.array([True, False, True], dtype="boolean"),
}


@pytest.mark.parametrize("name", TYPED)
@pytest.mark.parametrize("role", ["weight", "group", "time", "split"])
def test_typed_columns_are_read_or_refused(tmp_path: Path, name: str, role: str):
    column = pd.Series(TYPED[name]).take(ROW % 3).reset_index(drop=True)
    fits = {
        "weight": {"decimal", "nullable", "booleans"},
        "group": set(TYPED) - {"booleans"},
        "time": {"decimal", "dates", "zones", "durations", "nullable"},
        "split": {"categories"},
    }
    frame = table(row=ROW, c=column).assign(target=ROW // 3 % 2)
    if name in fits[role]:
        load(frame, tmp_path / "own.parquet", **{role: "c"})
        return
    with pytest.raises(DataError) as caught:
        load(frame, tmp_path / "own.parquet", **{role: "c"})
    assert len(caught.value.problems) == 1


def test_training_rows_of_a_regression_must_differ(tmp_path: Path):
    frame = table(row=ROW, part=PART).assign(target=np.where(np.char.find(np.char.lower(PART), "train") >= 0, 1.5, ROW))
    with pytest.raises(DataError, match=r"the target must differ between training rows, got 1\.5 in all"):
        load(frame, tmp_path / "own.csv", split="part", task="regression")


def test_a_weight_must_reach_every_class_of_a_split(tmp_path: Path):
    with pytest.raises(DataError, match=r"data.weight: each class must have training rows .* got none of '1'"):
        load(table(row=ROW, w=1 - TARGET), tmp_path / "own.csv", weight="w")


LATE = np.where(np.arange(len(ROW)) < len(ROW) - 5, 0, 1)
FOUND_WHEN_SPLIT = {
    "few groups": ({"c": ROW % 2}, {"group": "c"}, ": column 'c', data.group: must hold at least 3 different values"),
    "few times": ({"c": ROW % 2}, {"time": "c"}, ": column 'c', data.time: must hold at least 3 different times"),
    "group in two splits": (
        {"c": PART, "g": ROW % 7}, {"split": "c", "group": "g"}, ": column 'c', data.split: rows of one group",
    ),
    "weights of a class": ({"c": 1 - TARGET}, {"weight": "c"}, ": column 'c', data.weight: each class must have"),
    "rare class": ({"target": (ROW == 3) * 1}, {}, ", column 'target': every class must have at least 3 rows"),
    "class of one split": (
        {"c": ROW, "target": LATE}, {"time": "c"}, ", column 'target', by data.time: every class must have training",
    ),
    "one target": ({"target": ROW * 0 + 1.5}, {"task": "regression"}, ", column 'target': must hold different numbers"),
    "target of training rows": (
        {"c": PART, "target": np.where(np.char.find(np.char.lower(PART), "train") >= 0, 1.5, ROW)},
        {"split": "c", "task": "regression"}, ", column 'target': the target must differ between training rows",
    ),
    "log of zero": (
        {"target": ROW * 0.5}, {"target_transform": "log", "task": "regression"}, ", column 'target': data.target_tr",
    ),
    "few rows to hold back": ({}, {"test_fraction": 0.001}, ": data.test_fraction: both sides must have room for"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(("columns", "given", "start"), FOUND_WHEN_SPLIT.values(), ids=FOUND_WHEN_SPLIT)
def test_what_is_found_when_rows_are_split_names_file_and_column(
    tmp_path: Path, kind: str, columns: dict[str, object], given: dict[str, object], start: str
):
    path = tmp_path / f"own.{kind}"
    with pytest.raises(DataError) as caught:
        load(table(row=ROW).assign(**columns), path, **given)
    [problem] = caught.value.problems
    assert problem.startswith(f"{path}{start}")


def unused(dataset: datasets.Dataset) -> set[str]:
    return {note for note in dataset.notes if ": not used, got" in note}


def test_shares_and_a_seed_that_nothing_is_drawn_with_are_named(tmp_path: Path):
    given = {"validation_fraction": 0.3, "test_fraction": 0.1, "split_seed": 7}
    frame = table(row=ROW, c=PART)
    assert unused(load(frame, tmp_path / "own.csv", split="c", **given)) == {
        "data.validation_fraction: not used, got 0.3, but column 'c', data.split says which rows are validation rows",
        "data.test_fraction: not used, got 0.1, but column 'c', data.split says which rows are test rows",
        "data.split_seed: not used, got 7, but no row is drawn at random",
    }
    frame["c"] = np.where(ROW % 3, "train", "test")
    assert unused(load(frame, tmp_path / "own.csv", split="c", **given)) == {
        "data.test_fraction: not used, got 0.1, but column 'c', data.split says which rows are test rows"
    }
    assert unused(load(frame, tmp_path / "own.csv", time="row", **given)) == {
        "data.split_seed: not used, got 7, but column 'row', data.time splits the rows"
    }
    assert not unused(load(frame, tmp_path / "own.csv", **given))
    assert not unused(load(frame, tmp_path / "own.csv", split="c"))


@pytest.mark.parametrize("task", VALUES)
@pytest.mark.parametrize("fractions", [{"validation_fraction": 0.95}, {"test_fraction": 0.95}])
def test_each_split_has_a_group_whatever_its_share(tmp_path: Path, task: str, fractions: dict[str, float]):
    frame = table(row=ROW, g=ROW // (N_ROWS // 4)).assign(target=VALUES[task])
    dataset, test = read(tmp_path / "own.csv", frame, group="g", **fractions)
    assert all(len(rows) >= N_ROWS // 4 for rows in splits(dataset, test))
