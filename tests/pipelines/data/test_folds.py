"""Folds: each row but the test rows in one of them, classes in proportion, groups whole, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from small_tables import N_ROWS, PRICES, TARGET, load, table

from pipelines.config import DataConfig
from pipelines.data import loading, sealed
from pipelines.data.splits import FoldRows, Shares, folds, in_folds, quantile_bins, share_rows
from pipelines.errors import DataError

CLASSES = ("a", "b", "c")


def split(numbers: np.ndarray, groups: np.ndarray | None, seed: int, classes: tuple[str, ...] | None) -> Shares:
    return share_rows(numbers, classes, DataConfig("x", split_seed=seed), "labels", groups=groups)


def pool_of(shares: Shares) -> np.ndarray:
    return np.concatenate([shares.training, shares.validation])


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 7), st.integers(0, 2**32 - 1), st.tuples(*[st.integers(20, 150)] * 3), st.integers(0, 2**32 - 1))
def test_every_row_is_in_one_fold_in_proportion(n_folds: int, seed: int, counts: tuple[int, ...], draw: int):
    numbers = np.random.default_rng(draw).permutation(np.repeat(np.arange(3), counts))
    one = split(numbers, None, seed, CLASSES)
    found = in_folds(one, FoldRows(numbers, CLASSES, None, None, seed), n_folds)

    assert found.fold_of is not None
    assert np.array_equal(found.test, one.test)
    assert sorted(np.concatenate([pool_of(found), found.test])) == list(range(len(numbers)))
    assert len(found.fold_of) == len(pool_of(found))
    assert np.array_equal(found.validation, pool_of(found)[found.fold_of == 0])
    labels = numbers[pool_of(found)]
    table_of_counts = np.array([np.bincount(labels[found.fold_of == number], minlength=3) for number in range(n_folds)])
    assert table_of_counts.min() > 0
    assert np.ptp(table_of_counts, axis=0).max() <= 1
    again = in_folds(one, FoldRows(numbers, CLASSES, None, None, seed), n_folds)
    assert np.array_equal(again.fold_of, found.fold_of)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 5), st.integers(0, 2**32 - 1), st.integers(12, 40))
def test_groups_are_whole(n_folds: int, seed: int, n_groups: int):
    rng = np.random.default_rng(seed)
    groups, numbers = rng.integers(0, n_groups, 400), rng.integers(0, 2, 400)
    one = split(numbers, groups, seed, None)
    found = in_folds(one, FoldRows(numbers, None, groups, None, seed), n_folds)

    assert found.fold_of is not None
    pairs = set(zip(groups[pool_of(found)].tolist(), found.fold_of.tolist(), strict=True))
    assert len(pairs) == len({group for group, _ in pairs})
    assert {fold for _, fold in pairs} == set(range(n_folds))
    assert not set(groups[pool_of(found)]) & set(groups[found.test])


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 10), st.integers(30, 300), st.integers(0, 2**32 - 1))
def test_folds_of_a_regression_have_its_quantiles_in_proportion(n_folds: int, n_rows: int, seed: int):
    values = np.random.default_rng(seed).lognormal(size=n_rows)
    bins = quantile_bins(values)
    found = in_folds(split(bins, None, seed, None), FoldRows(bins, None, None, None, seed), n_folds)

    assert found.fold_of is not None
    assert np.ptp(np.bincount(found.fold_of, minlength=n_folds)) <= len(np.unique(bins))


def test_a_dataset_has_folds_and_the_test_rows_of_one_split(tmp_path: Path):
    one = load(table(price=PRICES), path := tmp_path / "own.csv")
    config = DataConfig(str(path), folds=4)
    dataset, test = loading.load(config), sealed.open_test(config)

    assert one.fold_of is None
    assert (one.n_folds, dataset.n_folds) == (1, 4)
    assert one.fingerprint == loading.load(replace(config, folds=1)).fingerprint != dataset.fingerprint
    assert test.digest == sealed.open_test(replace(config, folds=None)).digest
    assert len(dataset.fold_of) == len(dataset.training.y) + len(dataset.validation.y) == N_ROWS - len(test.y)
    assert np.count_nonzero(dataset.fold_of == 0) == len(dataset.validation.y) == 48
    rows = np.concatenate([dataset.training.x, dataset.validation.x])
    assert dataset.preprocessing.columns == loading.load(config).preprocessing.columns
    assert np.allclose(rows[:, 0].mean(), dataset.preprocessing.center[0], rtol=1e-3)


def test_weights_have_a_mean_of_1_over_all_folds(tmp_path: Path):
    weight = np.linspace(1, 5, N_ROWS)
    dataset = load(table(price=PRICES, w=weight), tmp_path / "own.csv", weight="w", folds=3)
    assert np.concatenate([dataset.training.weight, dataset.validation.weight]).mean() == pytest.approx(1)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "5", 101])
def test_a_wrong_number_of_folds_is_refused(value: object):
    with pytest.raises(DataError, match=r"^data.folds: must be a whole number from 1 to 100, got "):
        loading.load(DataConfig("digits", folds=value))


@pytest.mark.parametrize(
    ("key", "value"), [("time", "day"), ("split", "part"), ("validation_fraction", 0.3), ("validation_fraction", 0.1)]
)
def test_what_contradicts_folds_is_named(tmp_path: Path, key: str, value: object):
    frame = table(day=np.arange(N_ROWS), part=["train", "train", "val", "test"] * 60)
    rule = f"^data.folds: must be left out with data.{key}, got 5 and {value!r}: choose one of the two$"
    with pytest.raises(DataError, match=rule):
        load(frame, tmp_path / "own.csv", folds=5, **{key: value})
    assert load(frame, tmp_path / "own.csv", folds=1, **{key: value}).fold_of is None


def test_own_validation_rows_leave_no_folds(tmp_path: Path):
    x, y = np.random.default_rng(0).random((60, 3)), np.arange(60) % 2
    np.savez(tmp_path / "own.npz", x_train=x, y_train=y, x_val=x[:20], y_val=y[:20])
    with pytest.raises(DataError, match=r"data.folds: must be left out where a file has validation rows of its own"):
        loading.load(DataConfig(str(tmp_path / "own.npz"), folds=5))


def rare(n_rare: int) -> pd.DataFrame:
    return table(price=PRICES).assign(target=np.where(np.arange(N_ROWS) < n_rare, "rare", TARGET.astype(str)))


@pytest.mark.parametrize(
    ("frame", "given", "line"),
    [
        (
            rare(6),
            {"folds": 10},
            "every class must have a row for each of 10 folds beside its test rows, got 'rare' (5)",
        ),
        (
            table(group=np.arange(N_ROWS) // 40),
            {"folds": 6, "group": "group"},
            "6 folds must have a group of rows each",
        ),
        (
            table(w=np.where((np.arange(N_ROWS) < 40) | (TARGET == 0), 1.0, 0.0)),
            {"folds": 30, "weight": "w"},
            "every class must have rows with weights above 0 in each of 30 folds, got none of '1'",
        ),
    ],
)
def test_too_many_folds_are_refused(tmp_path: Path, frame: pd.DataFrame, given: dict[str, object], line: str):
    with pytest.raises(DataError) as caught:
        load(frame, tmp_path / "own.csv", **given)
    [problem] = caught.value.problems
    assert problem.startswith(f"{tmp_path / 'own.csv'}: data.folds: {line}")
    assert problem.endswith(": choose fewer folds, or merge classes")


class TestAutomaticRule:
    def test_few_rows_have_five_folds_and_a_line_says_so(self):
        lines: list[str] = []
        dataset = loading.load(DataConfig("digits"), note=lines.append, decide_folds=True)
        assert dataset.n_folds == 5
        assert [line for line in lines if "--folds 1" in line and line.startswith("note: 5 folds: ")]
        assert dataset.fingerprint == loading.load(DataConfig("digits", folds=5)).fingerprint

    def test_it_is_for_new_studies_and_few_rows_alone(self, monkeypatch: pytest.MonkeyPatch):
        assert loading.load(DataConfig("digits")).n_folds == 1
        assert loading.load(DataConfig("digits", folds=1), decide_folds=True).n_folds == 1
        assert loading.load(DataConfig("digits", folds=3), decide_folds=True).n_folds == 3
        monkeypatch.setattr(folds, "FEW_ROWS", 1797)
        assert loading.load(DataConfig("digits"), decide_folds=True).n_folds == 1

    @pytest.mark.parametrize("given", [{"time": "day"}, {"split": "part"}, {"validation_fraction": 0.3}])
    def test_another_choice_of_the_user_makes_one_split(self, tmp_path: Path, given: dict[str, object]):
        table(day=np.arange(N_ROWS), part=["train"] * N_ROWS).to_csv(path := tmp_path / "own.csv", index=False)
        dataset = loading.load(DataConfig(str(path), **given), decide_folds=True)
        assert dataset.n_folds == 1
        assert not [note for note in dataset.notes if "folds" in note]

    @pytest.mark.parametrize(
        ("n_rare", "n_folds", "start"),
        [(4, 3, "3 folds instead of 5, because "), (3, 2, "2 folds instead of 5"), (6, 5, "5 folds: ")],
    )
    def test_a_rare_class_makes_fewer_folds_and_a_line_says_why(
        self, tmp_path: Path, n_rare: int, n_folds: int, start: str
    ):
        rare(n_rare).to_csv(path := tmp_path / "own.csv", index=False)
        dataset = loading.load(DataConfig(str(path)), decide_folds=True)
        assert dataset.n_folds == n_folds
        [line] = [note for note in dataset.notes if "folds" in note]
        assert line.startswith(start)
        rule = "every class must have a row for each of 5 folds beside its test rows"
        assert (f"instead of 5, because {rule}, got 'rare' ({n_rare - 1}): the source" in line) == (n_folds < 5)
        assert line.endswith("makes one split")

    def test_few_groups_make_fewer_folds_and_a_line_says_why(self, tmp_path: Path):
        frame = table(group=np.arange(N_ROWS) // 80).assign(target=np.arange(N_ROWS) * 0.37)
        frame.to_csv(path := tmp_path / "own.csv", index=False)
        dataset = loading.load(DataConfig(str(path), group="group"), decide_folds=True)
        assert dataset.n_folds == 2
        [line] = [note for note in dataset.notes if "folds" in note]
        assert line.startswith("2 folds instead of 5, because 5 folds must have a group of rows each beside the test")
