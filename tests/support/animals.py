"""A table of animals, and a home whose model ``animals`` was trained on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from search.registry.promotion import promote
from search.scheduling.run_study import run_study
from search.spec.reading import spec_from_dict


def animals_table(n_rows: int = 300) -> pd.DataFrame:
    """Numbers, whole numbers, text and truth values with gaps, and labels that are names."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, n_rows)
    frame = pd.DataFrame(
        {
            "size": kind + rng.normal(0, 0.2, n_rows),
            "count": rng.integers(0, 9, n_rows),
            "colour": np.array(["red", "green", "blue"])[kind],
            "wet": (rng.random(n_rows) < 0.5).astype(object),
            "species": np.array(["ant", "bee", "cat's"])[kind],
        }
    )
    for column in ("size", "colour", "wet"):
        frame.loc[rng.choice(n_rows, 20, replace=False), column] = None
    return frame


def make_animals(folder: Path) -> Path:
    """Makes the home below a folder."""
    animals_table().to_csv(folder / "animals.csv", index=False)
    document = {
        "study": {"name": "animals", "trials": 1},
        "data": {"source": str(folder / "animals.csv"), "target": "species", "folds": 1},
        "space": {"width": 32, "depth": 1, "learning_rate": 0.01, "epochs": 8, "batch_size": 16},
    }
    run_study(spec_from_dict(document), home=folder / "home")
    promote("animals", force="no test of it here", home=folder / "home")
    return folder / "home"
