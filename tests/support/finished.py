"""Small studies on digits, run to their end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from search.finals.sealed_test import evaluate
from search.registry.promotion import promote
from search.scheduling.run_study import StudyResult, run_study
from search.spec.reading import spec_from_dict
from search.spec.study_spec import StudySpec


def small_spec(
    name: str, *, trials: int = 3, split_seed: int = 0, seed: int = 0, slots: int = 1, **space: Any
) -> StudySpec:
    """A study of small networks without pruning; ``space`` fixes or widens its dimensions.

    Each slot's process builds TensorFlow's programs anew, which takes longer than to train them.
    """
    fixed = {"width": 32, "depth": 1, "dropout": 0.0, "optimizer": "adam", "learning_rate": 0.005, "epochs": 4}
    document = {
        "study": {"name": name, "trials": trials, "seed": seed},
        "data": {"source": "digits", "folds": 1, "split_seed": split_seed},
        "space": fixed | {"schedule": "constant", "batch_size": 32} | space,
        "search": {"sampler": "random", "pruner": "none"},
        "workers": {"slots": slots},
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


def make_houses(home: Path) -> None:
    """A regression of house prices, ``houses``, evaluated and promoted; its table lies beside the home."""
    rng, table = np.random.default_rng(0), home.with_name("houses.csv")
    area, age = rng.uniform(30, 200, 400), rng.uniform(0, 50, 400)
    price = 2000 * area - 3000 * age + rng.normal(0, 15_000, 400)
    rows = np.column_stack([area, age, price])
    np.savetxt(table, rows, fmt="%.2f", delimiter=",", header="area,age,price", comments="")
    space = {"width": 16, "depth": 1, "learning_rate": 0.02, "epochs": 12, "batch_size": 16}
    document = {
        "study": {"name": "houses", "trials": 1},
        "data": {"source": str(table), "folds": 1, "target": "price"},
        "space": space,
    }
    run_study(spec_from_dict(document), home=home)
    evaluate("houses", home=home)
    assert promote("houses", home=home).promoted
