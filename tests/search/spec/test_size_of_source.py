"""The space and the starts that the size of a source, its task and its folds choose where the user gave none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipelines.config import Hyperparameters
from pipelines.objectives import Task
from search.spec.defaults import STARTS
from search.spec.dimensions import Fixed
from search.spec.reading import default_spec, override, spec_from_dict
from search.spec.study_spec import StudySpec

WEIGHTS = ["none", "balanced"]


def test_a_small_source_has_starts_of_its_own_unless_the_user_gives_some():
    small = default_spec("digits", preset="classic").for_size(4999, 20)
    assert small.start == tuple(Hyperparameters(**start) for start in STARTS["few_rows"])
    large = default_spec("digits", preset="classic")
    assert large.for_size(5000, 20) == large
    weighted = default_spec("iris.csv", class_weight="balanced", preset="classic").for_size(150, 20)
    assert {start.class_weight for start in weighted.start} == {"balanced"}
    given = spec_from_dict({"data": {"source": "digits"}, "start": [STARTS["few_rows"][0] | {"width": 64}]})
    assert given.for_size(100, 20) == given


def test_in_folds_the_starts_for_the_classes_of_a_table_are_no_wider_than_pays() -> None:
    classes = default_spec("iris.csv").for_task("classification")
    assert {start.width for start in classes.with_folds(5).for_size(10_000, 20).start} == {256}
    for n_rows in (150, 5000):
        assert {start.width for start in classes.with_folds(5).for_size(n_rows, 20).start} == {64}
        assert {start.width for start in classes.with_folds(1).for_size(n_rows, 20).start} == {256}
    amounts = default_spec("iris.csv").for_task("regression")
    assert amounts.with_folds(5).for_size(150, 20).start == amounts.start
    pictures = default_spec("digits").for_task("classification").with_folds(5)
    assert [start.width for start in pictures.for_size(1797, 20).start] == [128, 256, 64]
    assert pictures.for_size(60_000, 20).start == pictures.start
    of_user = spec_from_dict({"data": {"source": "iris.csv"}, "space": {"preset": "strong", "width": [128, 512]}})
    assert {start.width for start in of_user.for_task("classification").with_folds(5).for_size(150, 20).start} == {128}


def test_a_preset_has_no_embedding_for_thousands_of_numeric_columns() -> None:
    for spec in (default_spec("genes.csv"), default_spec("genes.csv", preset="strong")):
        narrow, wide = (spec.for_task("classification").for_size(500, n, 2 * n) for n in (1000, 5000))
        assert "embedding" in narrow.space.dimensions
        assert "embedding" not in wide.space.dimensions
        assert {start.embedding for start in wide.start} == {None}
    asked = default_spec("genes.csv", embedding=["none", "piecewise"]).for_task("classification")
    assert asked.for_size(500, 5000, 10_000).space == asked.for_size(500, 1000, 2000).space


def test_in_folds_a_table_of_classes_is_searched_up_to_the_width_that_pays() -> None:
    def highest(
        spec: StudySpec, n_folds: int = 5, task: Task = "classification", n_rows: int = 150, n_features: int = 256
    ) -> int:
        return spec.for_task(task).with_folds(n_folds).for_size(n_rows, n_features).space.highest("width")

    iris = default_spec("iris.csv")
    assert highest(iris) == 128
    assert highest(iris, n_folds=1) == highest(iris, task="regression") == highest(iris, n_rows=10_000) == 1024
    assert highest(iris, n_features=784) == 1024, "pixels in columns"
    assert highest(default_spec("iris.csv", width={"low": 256, "high": 512})) == 512, "a range of the user's"
    assert highest(replace(iris, like=("earlier",))) == 1024, "their best configurations keep their widths"
    assert highest(default_spec("digits")) == 1024
    assert highest(default_spec("iris.csv", preset="strong")) == 1024, "a preset that the user names is the user's"
    assert highest(spec_from_dict({"data": {"source": "iris.csv"}, "space": {"preset": "strong"}})) == 1024


def test_without_a_file_an_array_with_few_rows_has_the_classic_space_and_every_other_source_the_strong_one():
    assert default_spec("digits").for_size(4999, 20) == default_spec("digits", preset="classic").for_size(4999, 20)
    assert default_spec("digits").for_size(5000, 20) == default_spec("digits", preset="strong")
    assert default_spec("iris.csv").for_size(150, 20) == default_spec("iris.csv", preset="strong")
    assert default_spec("digits", preset="strong").for_size(4999, 20).space == default_spec("mnist").space
    weighted = default_spec("own.npz", class_weight="balanced").for_size(100, 20).space
    assert (weighted.class_weight, len(weighted.dimensions)) == ("balanced", 9)


def test_a_dimension_that_is_given_from_python_is_kept_for_few_rows_too():
    spec = default_spec("digits", width=64).for_task("classification").for_size(1797, 64)
    assert spec.space.dimensions["width"] == Fixed(64)
    assert {start.width for start in spec.start} == {64}
    assert (
        default_spec("iris.csv", depth=2)
        .for_task("classification")
        .with_folds(5)
        .for_size(150, 20)
        .space.highest("width")
        == 128
    ), "what is not given is narrowed"
    assert override(default_spec("digits"), depth=1).for_size(1797, 64).space.dimensions["depth"] == Fixed(1)


def test_the_weights_of_classes_are_those_that_are_given_beside_a_preset():
    file = spec_from_dict({"data": {"source": "digits"}, "space": {"width": 8}})
    spec = override(file, class_weight="balanced", preset="strong")
    assert spec.space.dimensions["class_weight"] == Fixed("balanced")
    assert spec.space.highest("width") == 1024


def test_starts_that_the_user_did_not_give_move_with_a_dimension_that_is_given():
    """A file's own preset brings both weightings; the option fixes one of them."""
    file = spec_from_dict({"data": {"source": "iris.csv"}, "space": {"preset": "classic", "class_weight": WEIGHTS}})
    spec = override(file, class_weight="balanced")
    assert len(spec.start) == len(file.start) > 0
    assert {start.class_weight for start in spec.start} == {"balanced"}


@pytest.mark.parametrize(
    ("name", "value"), [("optimizer", "adamw"), ("schedule", "onecycle"), ("activation", "gelu"), ("epochs", 7)]
)
def test_starts_for_few_rows_have_what_is_given(name: str, value: object):
    spec = default_spec("digits", **{name: value}).for_task("classification").for_size(1797, 64)
    assert len(spec.start) == len(STARTS["few_rows"])
    assert {getattr(start, name) for start in spec.start} == {value}
    assert spec_from_dict(spec.to_json()).start == spec.start, "its record can be read"


@pytest.mark.parametrize("dimension", [{"optimizer": "adamw"}, {"schedule": "onecycle"}, {"depth": 2}])
def test_of_a_file_only_classic_has_starts_of_its_own_for_few_rows(dimension: dict[str, Any]):
    specs = {
        preset: spec_from_dict({"data": {"source": "digits"}, "space": {"preset": preset, **dimension}})
        for preset in ("classic", "strong")
    }
    small = {preset: spec.for_size(1797, 64) for preset, spec in specs.items()}
    assert len(small["classic"].start) == len(STARTS["few_rows"])
    assert {start.width for start in small["classic"].start} == {start["width"] for start in STARTS["few_rows"]}
    assert small["strong"].start == specs["strong"].start


@pytest.mark.parametrize("source", ["digits", "iris.csv"])
@pytest.mark.parametrize(
    ("name", "given", "values"),
    [
        ("activation", "gelu", {"gelu"}),
        ("normalization", "layer", {"layer"}),
        ("schedule", "cosine", {"cosine"}),
        ("schedule", "onecycle", {"onecycle"}),
        ("activation", ["tanh", "selu"], {"tanh", "selu"}),
        ("label_smoothing", {"low": 0.2, "high": 0.3}, {0.2}),
    ],
)
def test_the_starts_of_a_preset_have_what_a_file_says_beside_it(
    source: str, name: str, given: object, values: set[object]
):
    spec = spec_from_dict({"data": {"source": source}, "space": {"preset": "strong", name: given}})
    assert len(spec.start) == len(default_spec(source, preset="strong").start) > 0
    assert {getattr(start, name) for start in spec.start} <= values
