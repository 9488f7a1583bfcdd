"""What the benchmark of folds and seeds says of its figures."""

from __future__ import annotations

from typing import Any

from folds import verdicts


def _row(source: str, one_split_s: float, folds_s: float, seeds_s: float) -> dict[str, Any]:
    times = {"folds": folds_s / one_split_s, "seeds": seeds_s / 10}
    return {"source": source, "one_split_s": one_split_s, "folds_s": folds_s, **times}


def _not_held(*rows: dict[str, Any], help_s: float = 0.2) -> list[str]:
    return [target for target, is_held in verdicts(rows, help_s, 24) if not is_held]


def test_figures_at_the_limits_are_held() -> None:
    assert _not_held(_row("digits", 6, 13, 20), _row("churn", 20, 44, 20)) == []


def test_each_figure_beyond_its_limit_is_named() -> None:
    assert _not_held(_row("digits", 7.1, 13.1, 10)) == [
        "digits: 24 trials with one split take 7.1 s, at most 7 s",
        "digits: 24 trials with 5 folds take 13.1 s, at most 13 s",
    ]
    assert _not_held(_row("churn", 20, 46, 21), help_s=0.3) == [
        "churn: 24 trials with 5 folds take 2.30 times those with one split, at most 2.2",
        "churn: finalists with 5 seeds take 2.10 times those with one, at most 2",
        "--help takes 0.30 s, at most 0.2 s",
    ]
