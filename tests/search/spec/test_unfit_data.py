"""Targets, groups, times, weights, splits, objectives and losses that do not fit: one clear line each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.data import loading
from pipelines.data.datasets import Dataset, Split
from pipelines.data.preprocessing import Preprocessing
from pipelines.errors import InputError, SpecError
from search.spec.reading import spec_from_dict
from search.spec.study_spec import drawn_as_then
from search.training.configuration import default_training

N = 60
ROW = np.arange(N)
X = np.random.default_rng(0).normal(size=N)
BASE = {"x": X, "target": ROW % 2}
REAL = {"target": X + 3}
PART = np.array(["train", "train", "val", "test"])[ROW % 4]
TIME = ROW // 2


def some(values: np.ndarray | object, wrong: object) -> list[object]:
    """The values, or one for all rows, with two wrong ones."""
    return [wrong if row in (3, 8) else value for row, value in enumerate(np.broadcast_to(values, N).tolist())]


# Columns beside x and target, keys of [data], keys of other tables, and what the line says.
WRONG = {
    "regression-of-text": ({"target": ["a", "b"] * 30}, {"task": "regression"}, {}, "must hold numbers alone, got 'a'"),
    "regression-of-constant": ({"target": 1.5}, {"task": "regression"}, {}, "must hold different numbers, got 1.5"),
    "classes-of-constant": ({"target": 1}, {}, {}, "must hold at least two classes, got '1' alone"),
    "classes-of-reals": (REAL, {"task": "classification"}, {}, "must be whole numbers or text"),
    "target-missing": ({"target": [None, None, "a", None, "b"] * 12}, {}, {}, "must have a label, got 36 empty"),
    "target-infinite": ({"target": some(X, np.inf)}, {}, {}, "must hold finite float32 numbers, got 2"),
    "target-name": ({}, {"target": "Target"}, {}, "label's column 'Target' (did you mean 'target'?)"),
    "log-of-negative": ({"target": X}, {"target_transform": "log"}, {}, 'the target must be above 0 for "log"'),
    "log-of-classes": ({}, {"target_transform": "log"}, {}, "data.target_transform: must be left out"),
    "transform-unknown": (REAL, {"target_transform": "sqrt"}, {}, "data.target_transform: must be one of"),
    "task-unknown": ({}, {"task": "ranking"}, {}, "data.task: must be one of auto, classification, regression"),
    "auc-of-regression": (REAL, {}, {"search": {"objective": "val_auc"}}, "must be whole numbers or text"),
    "rmse-of-classes": ({"target": ["a", "b"] * 30}, {}, {"search": {"objective": "val_rmse"}}, "must hold numbers"),
    "rmse-and-classification": (
        {}, {"task": "classification"}, {"search": {"objective": "val_rmse"}}, "data.task: must be regression",
    ),
    "accuracy-and-regression": (
        {}, {"task": "regression"}, {"search": {"objective": "val_accuracy"}}, "data.task: must be classification",
    ),
    "objective-unknown": ({}, {}, {"search": {"objective": "val_acuracy"}}, "did you mean val_accuracy?"),
    "loss-of-classes": ({}, {}, {"space": {"loss": ["mse", "mae"]}}, "loss: must be left out"),
    "loss-unknown": (REAL, {}, {"space": {"loss": "mape"}}, "space.loss: must be one of mse, mae, huber"),
    "class-weight-of-regression": (
        REAL, {}, {"space": {"class_weight": "balanced"}}, "class_weight: must be left out, because the task",
    ),
    "class-weight-unknown": ({}, {}, {"space": {"class_weight": "equal"}}, "must be one of none, balanced"),
    "weight-name": ({"weights": X}, {"weight": "wieghts"}, {}, "got 'wieghts' (did you mean 'weights'?)"),
    "weight-is-number": ({}, {"weight": 3}, {}, "data.weight: must be the name of a column, got 3"),
    "weight-is-target": ({}, {"weight": "target"}, {}, "data.weight must name another column than the target"),
    "weight-negative": ({"w": some(1.0, -2)}, {"weight": "w"}, {}, "finite numbers >= 0, got -2.0 (2 such rows, the"),
    "weight-missing": ({"w": some(1.0, None)}, {"weight": "w"}, {}, "every row must have a weight, got nan (2 such"),
    "weight-text": ({"w": some("2", "much")}, {"weight": "w"}, {}, ">= 0, got 'much' (2 such rows, the first 4, 9)"),
    "weight-infinite": ({"w": some(1.0, np.inf)}, {"weight": "w"}, {}, "finite numbers >= 0, got inf"),
    "weight-date": ({"w": pd.Timestamp("2024-01-01")}, {"weight": "w"}, {}, "weights must be finite numbers >= 0"),
    "weight-zero": ({"w": 0}, {"weight": "w"}, {}, "some weights must be above 0"),
    "weight-of-one-class": ({"w": ROW % 2}, {"weight": "w"}, {}, "each class must have training rows with weights"),
    "weight-of-one-split": (
        {"w": PART != "val", "p": PART}, {"weight": "w", "split": "p"}, {}, "validation rows must have weights above 0",
    ),
    "weight-is-numeric": ({"w": X**2}, {"weight": "w", "numeric": ["w"]}, {}, "data.numeric: must not name"),
    "group-name": ({"patient": TIME}, {"group": "patients"}, {}, "(did you mean 'patient'?)"),
    "group-is-target": ({}, {"group": "target"}, {}, "data.group must name another column than the target"),
    "group-missing": ({"g": some(TIME, None)}, {"group": "g"}, {}, "every row must have a group, got nan (2 such"),
    "group-few": ({"g": ROW // 30}, {"group": "g"}, {}, "must hold at least 3 different values"),
    "group-and-duplicates": (
        {"g": TIME}, {"group": "g", "duplicates": "group"}, {}, "data.duplicates: must be left out with data.group",
    ),
    "group-is-weight": ({"g": TIME}, {"group": "g", "weight": "g"}, {}, "must name another column than data.weight"),
    "group-across-splits": (
        {"g": TIME, "p": PART}, {"group": "g", "split": "p"}, {}, "rows of one group (data.group) must be in one split",
    ),
    "group-list": ({}, {"group": ["a", "b"]}, {}, "data.group: must be the name of a column"),
    "time-name": ({"when": TIME}, {"time": "wen"}, {}, "data.time must name columns of the table, got 'wen'"),
    "time-text": ({"when": ["mon", "tue"] * 30}, {"time": "when"}, {}, "must hold dates or numbers, got 'mon'"),
    "time-some-text": ({"when": some("2024-01-05", "soon")}, {"time": "when"}, {}, "numbers, got 'soon' (2 such"),
    "time-missing": ({"when": some(TIME, None)}, {"time": "when"}, {}, "every row must have a time, got nan (2 such"),
    "time-boolean": ({"when": ROW > 30}, {"time": "when"}, {}, "must hold dates or numbers, got False"),
    "time-equal": ({"when": ROW // 30}, {"time": "when"}, {}, "must hold at least 3 different times"),
    "time-and-split": ({"when": TIME, "p": PART}, {"time": "when", "split": "p"}, {}, "left out with data.split"),
    "time-and-group": ({"when": TIME, "g": TIME}, {"time": "when", "group": "g"}, {}, "left out with data.group"),
    "time-is-target": (REAL, {"time": "target"}, {}, "data.time must name another column than the target"),
    "time-of-classes": ({"when": ROW, "target": ROW // 50}, {"time": "when"}, {}, "class must have training rows"),
    "split-unknown-word": ({"p": some(PART, "trian")}, {"split": "p"}, {}, "train, validation or test, got 'trian' (2"),
    "split-numbers": ({"p": ROW % 3}, {"split": "p"}, {}, "must hold train, validation or test, got 0 (60 such rows"),
    "split-missing": ({"p": some(PART, None)}, {"split": "p"}, {}, "every row must have a split, got nan (2 such"),
    "split-without-training": ({"p": np.where(PART == "train", "dev", PART)}, {"split": "p"}, {}, "must hold train in"),
    "split-of-classes": (
        {"p": PART, "target": (PART == "test") * 1}, {"split": "p"}, {}, "every class must have a training row",
    ),
    "auc-of-one-class": (
        {"p": PART, "target": (ROW % 8 == 0) * 1}, {"split": "p"},
        {"search": {"objective": "val_auc"}}, "must not be val_auc, because the validation rows have one class alone",
    ),
    "split-name": ({"part": PART}, {"split": "prt"}, {}, "got 'prt' (did you mean 'part'?)"),
    "numeric-and-text": ({}, {"numeric": ["x"], "text_columns": ["x"]}, {}, "must not name a column of data.text_col"),
    "two-names": ({"g": TIME}, {"group": "g", "groups": "g"}, {}, "data.groups: unknown key; did you mean group?"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(("columns", "data", "tables", "message"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_gives_one_line(
    tmp_path: Path, kind: str, columns: dict[str, object], data: dict[str, object], tables: dict, message: str
):
    frame, path = pd.DataFrame(BASE | columns), tmp_path / f"own.{kind}"
    frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    with pytest.raises(InputError) as caught:
        _prepare({"data": {"source": str(path), **data}, **tables})
    assert len(caught.value.problems) == 1
    found = str(caught.value).replace("'p0'", "'0'").replace("got None", "got nan")
    assert message in found
    assert "\n" not in found
    assert len(found) < 400


ARRAYS = {
    "sample_weight-rows": ({"sample_weight": np.ones(5)}, {}, "sample_weight must be (60,), one value a row, got"),
    "sample_weight-negative": ({"sample_weight": X}, {}, "'sample_weight', data.weight: weights must be finite"),
    "sample_weight-nan": ({"sample_weight": some(1.0, np.nan)}, {}, "every row must have a weight, got nan"),
    "sample_weight-text": ({"sample_weight": ["a"] * N}, {}, "weights must be finite numbers >= 0, got 'a'"),
    "sample_weight-complex": ({"sample_weight": X * 1j}, {}, "sample_weight must hold numbers, texts or dates"),
    "sample_weight-objects": ({"sample_weight": np.array([None] * N)}, {}, "without pickled objects, got object"),
    "groups-two-columns": ({"groups": np.ones((N, 2))}, {}, "groups must be (60,), one value a row, got shape (60, 2)"),
    "groups-few": ({"groups": ROW // 30}, {}, "must hold at least 3 different values"),
    "group-name": ({"patient": TIME}, {"group": "patiant"}, "got 'patiant' (did you mean 'patient'?)"),
    "group-is-input": ({}, {"group": "x"}, "must name an array beside the inputs and labels, got 'x'"),
    "duplicates-and-groups": ({"groups": TIME}, {"duplicates": "group"}, "data.duplicates must be left out for a file"),
    "ignore": ({}, {"ignore": ["x"]}, "data.ignore: only tables have one"),
}  # fmt: skip


@pytest.mark.parametrize(("arrays", "data", "message"), ARRAYS.values(), ids=ARRAYS)
def test_arrays_that_do_not_fit_give_one_line(
    tmp_path: Path, arrays: dict[str, object], data: dict[str, object], message: str
):
    np.savez(tmp_path / "own.npz", **{"x": np.stack([X, X], 1), "y": ROW % 2, **arrays})
    with pytest.raises(InputError) as caught:
        _prepare({"data": {"source": str(tmp_path / "own.npz"), **data}})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["time", "split", "weight", "group"])
def test_a_built_in_source_has_no_such_columns(key: str):
    with pytest.raises(InputError, match=f"data.{key}: only tables and .npz files have one"):
        _prepare({"data": {"source": "digits", key: "a"}})


def test_losses_of_several_kinds_are_not_compared():
    document = {"data": {"source": "a.csv"}, "space": {"loss": ["mse", "mae"]}, "search": {"objective": "val_loss"}}
    with pytest.raises(SpecError, match="must not be val_loss where the space searches the loss"):
        spec_from_dict(document).for_task("regression")
    document["space"] = {"loss": "mae"}
    assert spec_from_dict(document).for_task("regression").objective == "val_loss"


MOVED = {
    "table": ({"shift": [0, 2], "flip": True}, (12,), ["shift", "flip"], "rows of 12 are no pictures"),
    "channels-first": ({"flip": [False, True]}, (3, 32, 32), ["flip"], "rows of 3 x 32 x 32 are no pictures"),
    "too-far": ({"shift": {"low": 0, "high": 8}}, (8, 9), ["shift"], "pictures of 8 x 9 cannot move by 8 pixels"),
    "with-the-loss": ({"loss": "mae", "shift": 1}, (12,), ["loss", "shift"], "the task is a classification"),
    "not-moved": ({"shift": 0, "flip": False}, (12,), [], ""),
    "pictures": ({"shift": 7, "flip": True}, (8, 8, 3), [], ""),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("space", "shape", "names", "reason"), MOVED.values(), ids=MOVED)
def test_only_pictures_are_moved(
    space: dict[str, object], shape: tuple[int, ...], names: list[str], reason: str, training: bool
) -> None:
    preprocessing = Preprocessing(shape, ("a", "b"), 0.0, 1.0)
    rows = Split(np.zeros((1, *shape)), np.zeros(1))
    dataset = Dataset("a", rows, rows, preprocessing, "0" * 16, 0)
    if training and any(isinstance(value, list | dict) for value in space.values()):
        pytest.skip("a training has one value for each")
    spec = default_training("a.npz", **space) if training else spec_from_dict({"data": {"source": "a"}, "space": space})
    found: tuple[str, ...] = ()
    try:
        spec.for_task("classification", dataset.unfit(spec.shift))
    except SpecError as error:
        found = error.problems
    assert [line.split(": must be left out, because ")[0] for line in found] == names
    assert not found or reason in found[0]


def _prepare(document: dict[str, object]) -> None:
    """Checks a study and reads its data, as each command does before it trains."""
    spec = spec_from_dict(document)
    dataset = loading.load(spec.data)
    spec.for_task(dataset.task, dataset.unfit(spec.shift))


def test_dimensions_without_meaning_for_the_data_are_refused_at_once(tmp_path: Path):
    np.savez(tmp_path / "own.npz", x=np.stack([X, X], 1), y=ROW % 2)
    space = {"embedding": ["none", "piecewise"], "shift": 2, "flip": [False, True], "loss": "mae"}
    with pytest.raises(SpecError) as caught:
        _prepare({"data": {"source": str(tmp_path / "own.npz")}, "space": space})
    assert [line.partition(":")[0] for line in caught.value.problems] == ["loss", "shift", "flip", "embedding"]
    assert "must be left out, because rows of 2 are no pictures" in str(caught.value)
    _prepare({"data": {"source": str(tmp_path / "own.npz")}, "space": {"embedding": "none", "shift": 0, "flip": False}})
    _prepare({"data": {"source": "digits"}, "space": {"shift": 2, "flip": True}})


def test_a_preset_leaves_out_what_does_not_fit_the_data():
    document = {"data": {"source": "digits"}, "space": {"preset": "strong"}}
    spec = spec_from_dict(document).for_task("classification", {"embedding": "there is none"})
    assert "embedding" not in spec.space.dimensions
    assert "normalization" in spec.space.dimensions


def test_the_first_name_of_group_is_read(cases: Path):
    spec = spec_from_dict({"data": {"source": str(cases / "groups.csv"), "groups": "patient"}})
    assert spec.data.group == "patient"
    assert spec.to_json()["data"]["group"] == "patient"
    assert loading.load(drawn_as_then(spec.data)).fingerprint == "192d83a602381434"
