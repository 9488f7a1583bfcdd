"""What a new study fixes must have an effect."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from databases import opened

from pipelines.data.datasets import Dataset
from pipelines.errors import SpecError
from search.home.settings import prepare_home, read_settings
from search.optimization.starts import require_fit_starts, settle_starts
from search.optimization.starts.effects import require_effects
from search.spec.defaults import PRESETS
from search.spec.reading import spec_from_dict


def space(**dimensions: Any) -> Any:
    return spec_from_dict({"data": {"source": "digits"}, "space": dimensions}).space


@pytest.mark.parametrize(
    ("dimensions", "reason"),
    [
        ({"shape": "funnel", "depth": 3}, "all widths differ"),
        ({"shape": ["funnel"], "residual": [True]}, "all widths differ"),
        ({"depth": 1, "width": 32}, "the one hidden layer has another one"),
        ({"depth": 1, "width": {"low": 65, "high": 128}}, "the one hidden layer has another one"),
    ],
)
def test_residual_layers_that_add_nothing_are_refused(dimensions: dict[str, Any], reason: str, digits: Dataset) -> None:
    with pytest.raises(SpecError, match=rf"space\.residual: must be left out, got true: .*{reason}"):
        require_effects(space(**{"residual": True, **dimensions}), digits)


@pytest.mark.parametrize(
    "dimensions",
    [
        {"residual": False, "depth": 1},
        {"residual": [False, True], "shape": "funnel"},
        {"residual": True, "depth": {"low": 1, "high": 2}},
        {"residual": True, "shape": ["constant", "funnel"]},
        {"residual": True, "depth": 1, "width": {"low": 8, "high": 128}},  # 64 is the width of the inputs
        {"residual": True, "depth": 2, "width": 10, "shape": "funnel"},  # which cannot narrow to ten classes
        {"residual": True, "depth": 2, "width": [8, 50], "shape": "funnel"},
    ],
)
def test_residual_layers_that_may_add_something_are_not(dimensions: dict[str, Any], digits: Dataset) -> None:
    require_effects(space(**dimensions), digits)


def test_a_funnel_of_one_layer_is_refused(digits: Dataset) -> None:
    with pytest.raises(SpecError, match=r'space\.shape: must be left out, got "funnel": it narrows the hidden layers'):
        require_effects(space(shape="funnel", depth=1), digits)
    require_effects(space(shape="funnel", depth=[1, 2]), digits)
    require_effects(space(shape=["constant", "funnel"], depth=1), digits)


RICH = {
    "optimizer": ["sgd", "adam"],
    "depth": [1, 2],
    "width": {"low": 8, "high": 64},
    "momentum": [0.0, 0.9],
    "residual": [False, True],
    "shape": ["constant", "funnel"],
}


def with_start(dimensions: dict[str, Any] = RICH, **start: Any) -> Any:
    document = {"data": {"source": "digits"}, "space": dimensions, "start": [{"width": 32, "depth": 2} | start]}
    return spec_from_dict(document)


@pytest.mark.parametrize(
    ("start", "line"),
    [
        (
            {"optimizer": "adam", "momentum": 0.9},
            r"start\[0\]\.momentum: must be left out, got 0\.9: only sgd has it, and the optimizer is adam",
        ),
        (
            {"optimizer": "sgd", "depth": 1, "shape": "funnel"},
            r"start\[0\]\.shape: must be left out, got",
        ),
        (
            {"optimizer": "sgd", "depth": 1, "residual": True},
            r"start\[0\]\.residual: must be left out",
        ),
        (
            {"optimizer": "sgd", "shape": "funnel", "residual": True},
            r"start\[0\]\.residual: must be left out",
        ),
    ],
)
def test_a_start_with_a_value_without_effect_is_refused(
    tmp_path: Path, start: dict[str, Any], line: str, digits: Dataset
) -> None:
    settings = read_settings(tmp_path, {})
    prepare_home(settings)
    with pytest.raises(SpecError, match=line):
        settle_starts(settings, with_start(**start), digits)
    opened(settings, with_start(**start))
    assert settle_starts(settings, with_start(**start), digits) == with_start(**start), "it has begun with it before"


@pytest.mark.parametrize(
    ("dimensions", "start", "name", "value"),
    [
        ({}, {"optimizer": "sgd", "momentum": 0.9}, "momentum", 0.9),
        ({}, {"optimizer": "adam", "momentum": 0.0}, "momentum", 0.0),
        ({}, {"optimizer": "sgd", "depth": 1, "width": 64, "residual": True}, "residual", True),
        ({"residual": True}, {"optimizer": "sgd", "depth": 1}, "residual", True),
        ({"momentum": {"low": 0.5, "high": 0.99}}, {"optimizer": "adam"}, "momentum", 0.5),
        ({"momentum": {"low": 0.5, "high": 0.99}}, {"optimizer": "adam", "momentum": 0.5}, "momentum", 0.5),
        ({"momentum": [0.9, 0.99]}, {"optimizer": "adam"}, "momentum", 0.9),
        ({"momentum": 0.9}, {"optimizer": "adam", "momentum": 0.9}, "momentum", 0.9),
        ({"shape": ["funnel"]}, {"optimizer": "sgd", "depth": 1}, "shape", "funnel"),
    ],
)
def test_a_start_may_have_what_has_an_effect_or_is_the_only_value(
    tmp_path: Path, dimensions: dict[str, Any], start: dict[str, Any], name: str, value: object, digits: Dataset
) -> None:
    settings = read_settings(tmp_path, {})
    prepare_home(settings)
    [found] = settle_starts(settings, with_start(RICH | dimensions, **start), digits).start
    assert getattr(found, name) == value


def test_a_start_must_not_name_what_the_preset_leaves_out_for_the_data() -> None:
    start = {**PRESETS["strong"]["table_start"][0], "embedding": "piecewise"}
    document = {"data": {"source": "few.csv"}, "space": {"preset": "strong"}, "start": [start]}
    spec, unfit = spec_from_dict(document), {"embedding": "there is no numeric column"}
    with pytest.raises(SpecError, match=r'embedding: must be left out, got "piecewise": there is no numeric'):
        require_fit_starts(spec, "classification", unfit)
    spec = replace(spec, start=(replace(spec.start[0], embedding="none"),))
    require_fit_starts(spec, "classification", unfit)
    with pytest.raises(SpecError, match=r"start\[0\]\.label_smoothing: .*, got 0\.05: the task is a regression"):
        require_fit_starts(spec, "regression", {})
    require_fit_starts(replace(spec, has_default_starts=True), "regression", {})


def test_a_study_of_an_earlier_version_resumes_with_them(tmp_path: Path, spec: Any, digits: Dataset) -> None:
    settings = read_settings(tmp_path, {})
    prepare_home(settings)
    spec = replace(spec, space=space(residual=True, shape="funnel"))
    with pytest.raises(SpecError, match="residual"):
        settle_starts(settings, spec, digits)
    opened(settings, spec)
    assert settle_starts(settings, spec, digits) == spec
