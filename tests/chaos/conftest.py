"""The summary of a campaign: kills, points, restarts, and what was checked."""

from __future__ import annotations

from collections import Counter

import pytest
from campaign import Tally

TALLIES = pytest.StashKey[dict[str, Tally]]()


@pytest.fixture
def tallies(request: pytest.FixtureRequest) -> dict[str, Tally]:
    """The counts of each back end's campaigns."""
    return request.config.stash.setdefault(TALLIES, {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for backend, tally in config.stash.get(TALLIES, {}).items():
        terminalreporter.section(f"chaos on {backend}")
        killed = f"{tally.kills.total()} kills, {tally.restarts} restarts, {tally.studies} studies"
        victims = Counter[str]()
        for (_, victim), count in tally.kills.items():
            victims[victim] += count
        terminalreporter.line(f"{killed}; victims: {listed(victims)}")
        points = Counter[str]()
        for (point, _), count in tally.kills.items():
            points[point] += count
        terminalreporter.line(f"points: {listed(points)}")
        terminalreporter.line(f"checked: {listed(tally.checked)}")


def listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
