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
from search.spec.reading import spec_from_dict
from search.starts import settle_starts
from search.starts.effects import require_effects


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
    ],
)
def test_residual_layers_that_may_add_something_are_not(dimensions: dict[str, Any], digits: Dataset) -> None:
    require_effects(space(**dimensions), digits)


def test_a_study_of_an_earlier_version_resumes_with_them(tmp_path: Path, spec: Any, digits: Dataset) -> None:
    settings = read_settings(tmp_path, {})
    prepare_home(settings)
    spec = replace(spec, space=space(residual=True, shape="funnel"))
    with pytest.raises(SpecError, match="residual"):
        settle_starts(settings, spec, digits)
    opened(settings, spec)
    assert settle_starts(settings, spec, digits) == spec
