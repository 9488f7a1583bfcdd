"""Small studies on digits, run to their end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search.finals.sealed_test import evaluate
from search.scheduling.run_study import StudyResult, run_study
from search.spec.reading import spec_from_dict
from search.spec.study_spec import StudySpec


def small_spec(name: str, *, trials: int = 3, split_seed: int = 0, seed: int = 0, **space: Any) -> StudySpec:
    """A study of small networks without pruning; ``space`` fixes or widens its dimensions."""
    fixed = {"width": 32, "depth": 1, "dropout": 0.0, "optimizer": "adam", "learning_rate": 0.005, "epochs": 4}
    document = {
        "study": {"name": name, "trials": trials, "seed": seed},
        "data": {"source": "digits", "folds": 1, "split_seed": split_seed},
        "space": fixed | {"schedule": "constant", "batch_size": 32} | space,
        "search": {"sampler": "random", "pruner": "none"},
        "workers": {"slots": 2},
    }
    return spec_from_dict(document)


def run_small(home: Path, name: str, **options: Any) -> StudyResult:
    """Runs such a study."""
    result = run_study(small_spec(name, **options), home=home)
    assert result.best
    return result


def make_contenders(home: Path) -> None:
    """The studies of the fixture ``contenders``."""
    strong = {"width": 64, "epochs": 12}
    run_small(home, "weak", trials=1, width=3, epochs=1)
    run_small(home, "middle", trials=1, width=8, epochs=3)
    run_small(home, "strong", trials=1, **strong)
    run_small(home, "equal", trials=1, **strong)
    run_small(home, "other", trials=1, split_seed=1, **strong)
    for study in ("weak", "middle", "strong", "equal", "other"):
        evaluate(study, home=home)
