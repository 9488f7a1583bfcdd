"""What the race says of its runs."""

from __future__ import annotations

import tomllib
from typing import Any

from ours import cold_study
from peers.problem import Range, race_space
from race import improvements, passing_times, rows_of, verdicts

from search.spec.reading import default_spec, spec_from_dict

MARKS = [60.0, 240.0]


def _run(name: str, seed: int, *events: tuple[float, float]) -> dict[str, Any]:
    best = {f"{mark:g}": max((value for at, value in events if at <= mark), default=None) for mark in MARKS}
    return {"name": name, "seed": seed, "best": best, "improvements": improvements(list(events))}


def _not_held(runs: list[dict[str, Any]]) -> list[str]:
    found = verdicts(rows_of(runs, MARKS), passing_times(runs, MARKS[-1]))
    return [target for target, is_held in found if not is_held]


def test_all_targets_are_held_where_ours_passes_the_last_best_of_the_peers_in_time() -> None:
    peers = [_run("kerastuner", 0, (50, 0.95)), _run("ray-tune", 0, (70, 0.96), (230, 0.97))]
    assert _not_held([_run("ours", 0, (9, 0.96), (19, 0.98)), _run("ours-cold", 0, (40, 0.975)), *peers]) == []


def test_one_seed_that_passes_late_is_named() -> None:
    runs = [_run("ours", 0, (19, 0.98)), _run("ray-tune", 0, (30, 0.97))]
    late = [_run("ours", 1, (19, 0.97), (21, 0.98)), _run("ray-tune", 1, (30, 0.97))]
    assert _not_held(runs + late) == ["ours, seed 1: passes the 0.9700 of the peers after 21.0 s, at most 20 s"]


def test_a_peer_ahead_at_a_mark_is_named_for_the_search_with_starts_and_without() -> None:
    runs = [_run("ours", 0, (19, 0.98)), _run("ours-cold", 0, (70, 0.99)), _run("ray-tune", 0, (59, 0.97))]
    assert _not_held(runs) == ["ours-cold is ahead of each peer at 60 s"]
    equal = _run("kerastuner", 0, (55, 0.98))
    assert "ours is ahead of each peer at 60 s" in _not_held([*runs, equal])


def test_the_peers_have_the_dimensions_of_our_preset_for_pictures() -> None:
    space = race_space("strong")
    assert space["ema"] == [0.0, 0.99]
    assert space["width"] == Range(64, 1024, log=True)
    assert "embedding" not in space
    assert race_space("strong", schedule=False)["schedule"] == ["constant"]


def test_the_search_without_starts_has_the_space_of_the_default_study_and_no_starts() -> None:
    cold, default = spec_from_dict(tomllib.loads(cold_study(0, 60))), default_spec("mnist")
    assert (cold.space, cold.start, cold.has_default_starts) == (default.space, (), False)
    assert default.start
