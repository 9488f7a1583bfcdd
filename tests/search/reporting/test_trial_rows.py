"""Filters, orders and CSV of a leaderboard."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from screens import ROWS

from pipelines.errors import InputError
from search.reporting.trial_rows import matching, ordered, to_csv


def numbers(condition: str) -> list[int]:
    return [row.number for row in matching(ROWS, condition)]


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("depth == 3", [0]),
        ("width >= 512 and state == COMPLETE", [17]),
        ("optimizer == 'rmsprop'", [0]),
        ("value > 0.98", [17, 0, 41]),
        ("val_accuracy > 0.98", [17, 0, 41]),
        ("lr == 0.00234", [17]),
        ("trial<9", [0, 3, 8]),
        ("is_start == true", [0]),
        ("is_start == True", [0]),
        ("is_start == yes and state == complete", [0]),
        ("stop_reason != finished", [41, 3, 8, 9, 63]),
    ],
)
def test_a_condition_keeps_the_rows_that_meet_it(condition: str, kept: list[int]) -> None:
    assert numbers(condition) == kept


@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_quoted_value_may_hold_the_word_that_joins_conditions(quote: str) -> None:
    rows = [replace(row, device="node and b" if row.number > 8 else "it's") for row in ROWS]
    condition = f"device == {quote}node and b{quote}"
    kept = [row.number for row in rows if row.number > 8]
    assert [row.number for row in matching(rows, condition)] == kept
    assert [row.number for row in matching(rows, f"trial < 40 and {condition} and trial != 9")] == [17]
    assert [row.number for row in matching(rows, "device == it's and trial == 3 and device != b's")] == [3]


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ("depth", "must be NAME SIGN VALUE"),
        ("", "must be NAME SIGN VALUE"),
        ("depth = 2", "must be NAME SIGN VALUE"),
        ("widht == 2", "got 'widht'; did you mean width?"),
        ("optimizer < 3", "must both be numbers, or both texts"),
        ("__import__('os') == 1", "must be NAME SIGN VALUE"),
        ("device == 'node and b", "must be NAME SIGN VALUE, such as"),
    ],
)
def test_a_wrong_condition(condition: str, problem: str) -> None:
    with pytest.raises(InputError) as error:
        matching(ROWS, condition)
    assert str(error.value).startswith("--filter: ")
    assert problem in str(error.value)


def test_the_order_by_a_column() -> None:
    assert [row.number for row in ordered(ROWS, "trial")] == [0, 3, 8, 9, 17, 41, 63]
    assert [row.number for row in ordered(ROWS, "-width")][:2] == [9, 17]
    assert ordered(ROWS, "value")[0].number == 8
    assert ordered(ROWS, "-value")[-1].number == 9  # without a value
    assert ordered(ROWS, "optimizer")[-1].number == 0
    with pytest.raises(InputError, match="--sort: must name a column, got 'x'"):
        ordered(ROWS, "x")


def test_csv_has_a_column_for_each_hyperparameter() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(ROWS, ROWS))))
    assert len(rows) == len(ROWS)
    assert rows[0]["number"] == "17"
    assert rows[0]["width"] == "512"
    assert float(rows[0]["value"]) == 0.9875
    assert rows[5]["value"] == ""
    assert to_csv([], []).startswith("number,state,value")
    assert to_csv([], ROWS).splitlines() == to_csv(ROWS, ROWS).splitlines()[:1]


@pytest.mark.parametrize(
    "condition",
    [
        "depth == 1 or depth == 2",
        "value == nothing",
        "depth == one",
        "depth != one",
        "optimizer == 3",
        "value > 0.9 and",
    ],
)
def test_what_no_trial_could_meet_is_refused(condition: str):
    with pytest.raises(InputError, match="--filter: "):
        matching(ROWS, condition)


@pytest.mark.parametrize(("sign", "kept"), [("==", True), ("<=", True), (">=", True), ("!=", False), ("<", False)])
def test_the_steps_of_a_range_are_the_numbers_that_people_write(sign: str, kept: bool):
    row = replace(ROWS[0], params=ROWS[0].params | {"dropout": 0.1 + 0.2})
    assert bool(matching([row], f"dropout {sign} 0.3")) == kept
