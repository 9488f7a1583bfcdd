"""The target decides the task: what it chooses, what it says of the choice, and what a refusal advises."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_tables import N_ROWS, load

from pipelines.config import DataConfig
from pipelines.data import loading
from pipelines.data.datasets import Dataset
from pipelines.data.targets import majority_share
from pipelines.errors import DataError

RNG = np.random.default_rng(1)
X = RNG.normal(size=N_ROWS)
NUMBERS = RNG.uniform(10, 99, N_ROWS).round(3)
COUNTS = np.where(np.arange(N_ROWS) == 3, 12, np.arange(N_ROWS) % 10)
STARS = np.arange(N_ROWS) % 10 / 2
DAYS = pd.Series(pd.date_range("2020-01-01", periods=N_ROWS))


def of_target(target: object, path: Path, **settings: object) -> Dataset:
    return load(pd.DataFrame({"x": X, "target": target}), path, **settings)


def about_task(dataset: Dataset) -> str:
    return " ".join(note for note in dataset.notes if "the task is a" in note)


def refusal(target: object, path: Path, **settings: object) -> str:
    with pytest.raises(DataError) as caught:
        of_target(target, path, **settings)
    return str(caught.value)


@pytest.mark.parametrize("task", [None, "regression"])
def test_a_target_has_the_decimal_point_of_its_file(tmp_path: Path, task: str | None):
    texts = [f"{number:.3f}".replace(".", ",") for number in NUMBERS]
    commas = of_target(texts, tmp_path / "own.csv", task=task)
    assert commas.preprocessing.target.center > 1000, "beside commas between fields they separate thousands"
    pd.DataFrame({"x": X, "target": texts}).to_csv(tmp_path / "own.csv", index=False, sep=";")
    dataset = loading.load(DataConfig(str(tmp_path / "own.csv"), task=task))
    assert dataset.preprocessing.target.center == pytest.approx(NUMBERS.mean(), rel=0.05)
    assert f"'{texts[0]}' as {NUMBERS[0]:g}" in " ".join(dataset.notes)


def test_counts_with_a_rare_one_are_a_regression_that_a_line_names(tmp_path: Path):
    dataset = of_target(COUNTS, tmp_path / "own.csv")
    assert dataset.task == "regression"
    assert '11 different numbers, so the task is a regression; task = "classification"' in about_task(dataset)
    few = np.where(np.arange(N_ROWS) == 3, 7, np.arange(N_ROWS) % 3)
    for target, task in ((few, None), (COUNTS, "classification")):
        assert 'or use task = "regression" in [data] (--task)' in refusal(target, tmp_path / "own.csv", task=task)


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        ([f"{number:.1f} kg" for number in NUMBERS], "the labels are numbers with a unit, such as '"),
        (DAYS.dt.strftime("%d.%m.%Y"), "the labels are dates, such as '01.01.2020': to predict one, write it as"),
        ([f"name {row}" for row in range(N_ROWS)], "add rows, drop or merge the class"),
    ],
    ids=["units", "dates", "names"],
)
def test_a_refused_target_of_units_or_dates_says_what_was_seen(tmp_path: Path, target: object, advice: str):
    assert advice in refusal(target, tmp_path / "own.csv")


@pytest.mark.parametrize("form", ["{}", "{},5", "€ {}"])
def test_a_few_slips_among_numbers_do_not_make_a_classification(tmp_path: Path, form: str):
    ages = [form.format(age) for age in 18 + RNG.integers(0, 48, 2000)]
    ages[100::600] = ["n/k"] * len(ages[100::600])
    path = tmp_path / "own.csv"
    pd.DataFrame({"x": RNG.normal(size=2000), "target": ages}).to_csv(path, index=False, sep=";")
    with pytest.raises(DataError, match=r"must hold numbers, as 1,996 of 2,000 values do, got 'n/k' \(4 rows\)"):
        loading.load(DataConfig(str(path)))
    assert loading.load(DataConfig(str(path), task="classification")).n_outputs == 49


def test_codes_that_lose_their_leading_zeros_are_named(tmp_path: Path):
    codes, path = [f"{1 + row % 3:02d}" for row in range(N_ROWS)], tmp_path / "own.csv"
    pd.DataFrame({"x": X, "target": codes}).to_csv(path, index=False)
    line = "column 'target': texts with leading zeros are read as numbers"
    assert any(line in note for note in loading.load(DataConfig(str(path))).notes)
    kept = loading.load(DataConfig(str(path), text_columns=["target"]))
    assert not any(line in note for note in kept.notes)
    assert list(kept.class_names) == ["01", "02", "03"]


def test_dates_of_a_parquet_file_say_how_to_predict_them(tmp_path: Path):
    assert "convert them to numbers, such as days" in refusal(DAYS, tmp_path / "own.parquet")
    durations = pd.to_timedelta(np.arange(N_ROWS), unit="s")
    assert "convert them to numbers, such as seconds" in refusal(durations, tmp_path / "own.parquet")


def test_few_fractions_are_classes_where_they_are_asked_for(tmp_path: Path):
    dataset = of_target(STARS, tmp_path / "own.csv", task="classification")
    assert dataset.class_names == ("0", "0.5", "1", "1.5", "2", "2.5", "3", "3.5", "4", "4.5")
    assert "must be whole numbers or text" in refusal(NUMBERS, tmp_path / "own.csv", task="classification")
    arrays = {"x_train": X[:, None], "y_train": STARS, "x_val": X[:20, None], "y_val": STARS[:20] // 1}
    np.savez(path := tmp_path / "own.npz", **arrays)
    assert loading.load(DataConfig(str(path), task="classification")).class_names == dataset.class_names


@pytest.mark.parametrize(
    ("target", "line"),
    [
        (np.arange(N_ROWS) % 7, '7 different whole numbers, so the task is a classification; task = "regression"'),
        (STARS, '10 different numbers, so the task is a regression; task = "classification"'),
        (NUMBERS, "so the task is a regression; to classify, cut the numbers into classes"),
        ([f"{row % 30} kg" for row in range(N_ROWS)], "30 different texts, so the task is a classification, though"),
        (np.arange(N_ROWS) % 2, ""),
        (np.arange(N_ROWS) % 2 == 1, ""),
        (np.array(["a", "b", "c"])[np.arange(N_ROWS) % 3], ""),
    ],
    ids=["whole", "stars", "real", "units", "binary", "booleans", "texts"],
)
def test_one_line_says_what_auto_chose_and_how_to_choose_otherwise(tmp_path: Path, target: object, line: str):
    said = about_task(of_target(target, tmp_path / "own.csv"))
    assert line in said if line else not said


@pytest.mark.parametrize("form", ["$ {}", "{} %", "1,{:03}", "{}.00 €"])
def test_money_and_percent_that_are_classes_can_be_a_regression_as_a_line_says(tmp_path: Path, form: str):
    target = [form.format(100 * (1 + row % 4)) for row in range(N_ROWS)]
    dataset = of_target(target, tmp_path / "own.csv")
    assert dataset.task == "classification"
    assert '4 different whole numbers, so the task is a classification; task = "regression"' in about_task(dataset)
    assert of_target(target, tmp_path / "own.csv", task="regression").task == "regression"


def test_zero_and_one_need_no_line_however_they_are_written(tmp_path: Path):
    assert not about_task(of_target([f"{row % 2 * 100} %" for row in range(N_ROWS)], tmp_path / "own.csv"))


@pytest.mark.parametrize("form", ["{}", "$ {}"])
def test_numbers_that_an_archive_holds_as_texts_are_to_be_saved_as_numbers(tmp_path: Path, form: str):
    """A regression reads texts as numbers in tables alone."""
    texts = np.array([form.format(100 * (1 + row % 4)) for row in range(N_ROWS)])
    np.savez(path := tmp_path / "own.npz", x=X[:, None], y=texts)
    said = about_task(loading.load(DataConfig(str(path))))
    assert "4 different texts, so the task is a classification, though they are numbers: to predict" in said
    assert 'task = "regression"' not in said


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_logarithm_of_own_validation_and_test_rows_is_checked(tmp_path: Path, split: str):
    arrays = {f"{key}_{end}": own[:40] for end in ("train", "val", "test") for key, own in
              (("x", X[:, None]), ("y", NUMBERS))}  # fmt: skip
    arrays[f"y_{split}"] = np.where(np.arange(40) < 3, 0, NUMBERS[:40])
    np.savez(path := tmp_path / "own.npz", **arrays)
    with pytest.raises(DataError) as caught:
        loading.load(DataConfig(str(path), task="regression", target_transform="log"))
    rule = 'data.target_transform: the target must be above 0 for "log", got 0 (3 such rows): leave it out'
    assert str(caught.value) == f"{path}, y_{split}: {rule}"
    assert loading.load(DataConfig(str(path), task="regression")).task == "regression"


def test_nothing_is_said_of_a_task_that_was_asked_for(tmp_path: Path):
    assert not about_task(of_target(np.arange(N_ROWS) % 7, tmp_path / "own.csv", task="classification"))
    assert not about_task(of_target(NUMBERS, tmp_path / "own.csv", task="regression"))


def test_the_share_of_the_most_frequent_class_follows_the_weights():
    assert majority_share([0, 0, 0, 1]) == 0.75
    assert majority_share([0, 0, 0, 1], np.array([0.5, 0.5, 0.5, 2.5])) == 0.625


@pytest.mark.parametrize("task", [None, "regression"])
def test_whole_numbers_beyond_those_of_numpy_are_numbers(tmp_path: Path, task: str | None):
    amounts = [str(10**20 + 10**15 * number) for number in range(N_ROWS)]
    dataset = of_target(amounts, tmp_path / "own.csv", task=task)
    assert dataset.task == "regression"
    assert dataset.preprocessing.target.center == pytest.approx(10**20, rel=0.01)


@pytest.mark.parametrize("form", ["{}", "{:05}"])
def test_a_target_that_is_declared_text_has_classes(tmp_path: Path, form: str):
    codes = [form.format(1234 + 1111 * (row % 30)) for row in range(N_ROWS)]
    dataset = of_target(codes, tmp_path / "own.csv", text_columns=("target",))
    assert (dataset.task, sorted(dataset.class_names)) == ("classification", sorted(set(codes)))


def test_labels_of_half_precision_are_read_without_a_warning(tmp_path: Path):
    with warnings.catch_warnings(action="error"):
        np.savez(tmp_path / "own.npz", x=X[:, None], y=(X > 0).astype(np.float16))
        assert loading.load(DataConfig(str(tmp_path / "own.npz"))).class_names == ("0", "1")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_numbers_of_few_digits_are_named_so_in_any_type(tmp_path: Path, dtype: type) -> None:
    labels = np.arange(60) % 3 * 0.1
    x = np.random.default_rng(0).normal(size=(60, 2))
    np.savez(path := tmp_path / "own.npz", x_train=x, y_train=labels.astype(dtype), x_test=x, y_test=labels.round(1))
    assert loading.load(DataConfig(str(path), task="classification")).class_names == ("0", "0.1", "0.2")


@pytest.mark.parametrize(("n_last", "is_named"), [(60, True), (20, False)])
def test_test_rows_of_one_class_are_named(tmp_path: Path, n_last: int, is_named: bool) -> None:
    labels = np.where(np.arange(200) < 200 - n_last, np.arange(200) % 2, 1).astype(str)
    frame = pd.DataFrame({"day": np.arange(200), "x": np.random.default_rng(0).normal(size=200), "y": labels})
    frame.to_csv(path := tmp_path / "own.csv", index=False)
    notes = loading.load(DataConfig(str(path), target="y", time="day")).notes
    line = "the held-out test rows have one class alone, '1': AUC and average precision cannot be measured on them"
    assert (line in notes) == is_named
