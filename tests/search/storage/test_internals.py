"""Optuna's internals are used in one folder, and there as little as possible."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
INTERNAL = re.compile(r"\._(storage|trial_id|study_id|cached_frozen_trial|get_trials|backend)\b|storages\._")
MOST = 25


def test_internals_of_optuna_are_used_in_the_storage_folder_alone() -> None:
    lines = [
        (path.relative_to(ROOT), line)
        for folder in ("search", "pipelines")
        for path in (ROOT / folder).rglob("*.py")
        for line in path.read_text().splitlines()
        if INTERNAL.search(line)
    ]
    assert [line for line in lines if line[0].parts[:2] != ("search", "storage")] == []
    assert len(lines) <= MOST
