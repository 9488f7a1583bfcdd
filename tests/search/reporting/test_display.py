"""The formats of values."""

from __future__ import annotations

import pytest

from search.reporting import display


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1:00 min"),
        (125, "2:05 min"),
        (3600, "1:00 h"),
    ],
)
def test_seconds(value: float | None, shown: str) -> None:
    assert display.seconds(value) == shown


def test_json_has_null_for_what_is_no_finite_number() -> None:
    document = {"value": float("inf"), "rows": [{"std": float("nan"), "n": 3}], "pair": (0.5, float("-inf"))}
    assert display.as_json(document) == '{"value": null, "rows": [{"std": null, "n": 3}], "pair": [0.5, null]}'
