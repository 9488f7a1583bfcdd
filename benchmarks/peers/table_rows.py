"""Rows of a real table for every peer: the split of our own study, columns as scikit-learn's manual encodes them."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TARGETS = {
    "credit": "Status",
    "churn": "churn",
    "attrition": "Attrition",
    "hpc": "class",
    "ames": "Sale_Price",
    "concrete": "compressive_strength",
    "diamonds": "price",
    "hotel": "avg_price_per_room",
}


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a peer.

    Attributes:
        name: Which peer runs.
        table: The file.
        target: Its label's column.
        seconds: For the search.
        seed: Of the split, and of the peer.
        output: The JSON file of test metrics that the peer writes.
    """

    name: str
    table: Path
    target: str
    seconds: float
    seed: int
    output: Path


def parse_options() -> Options:
    """Reads the peer's command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    for name, kind in (("table", Path), ("target", str), ("seconds", float), ("seed", int), ("output", Path)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    return Options(**vars(parser.parse_args()))


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a table as pandas reads them, and targets: class numbers, or numbers.

    Attributes:
        x: All rows.
        y: (n_rows,) targets.
        fit, validation, test: Numbers of the rows of each split.
        is_regression: What the target is.
    """

    x: Any
    y: np.ndarray
    fit: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    is_regression: bool

    @property
    def known(self) -> np.ndarray:
        """Rows that a peer without a validation split fits on."""
        return np.concatenate([self.fit, self.validation])

    def encoded(self, fitted_on: np.ndarray) -> np.ndarray:
        """All rows as (n_rows, n_features): medians, standard scaling, one 0/1 column a category, learned from some."""
        from sklearn.compose import make_column_selector, make_column_transformer
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        texts = OneHotEncoder(handle_unknown="ignore", min_frequency=5, sparse_output=False)
        is_text = ["object", "string", "category", "bool"]
        columns = make_column_transformer(
            (numbers, make_column_selector(dtype_exclude=is_text)), (texts, make_column_selector(dtype_include=is_text))
        )
        return np.asarray(columns.fit(self.x.iloc[fitted_on]).transform(self.x), dtype=np.float32)


def read_rows(options: Options) -> Rows:
    """Reads a table and splits it as our study with this split seed does; dates become days."""
    import pandas as pd

    from pipelines.config import DataConfig
    from pipelines.data.loading import prepare
    from pipelines.data.readers import read_source

    config = DataConfig(str(options.table), target=options.target, split_seed=options.seed)
    labels, prepared = read_source(config).labels, prepare(config)
    frame = pd.read_csv(options.table).drop(columns=options.target)
    for name in frame.select_dtypes(["object", "string"]):
        dates = pd.to_datetime(frame[name], format="%Y-%m-%d", errors="coerce")
        if dates.notna().all():
            frame[name] = (dates - pd.Timestamp(0)) / pd.Timedelta(days=1)
    is_regression = prepared.target is not None
    y = labels if is_regression else np.unique(labels, return_inverse=True)[1]
    shares = prepared.shares
    return Rows(frame, np.asarray(y), shares.training, shares.validation, shares.test, is_regression)


def write(options: Options, rows: Rows, predicted: np.ndarray, started: float) -> None:
    """Scores predictions of the test rows, probabilities or numbers, and writes the metrics."""
    from sklearn.metrics import accuracy_score, r2_score, roc_auc_score

    truth = rows.y[rows.test]
    if rows.is_regression:
        metrics = {"r2": r2_score(truth, predicted)}
    else:
        scores = predicted[:, 1] if predicted.shape[1] == 2 else predicted
        auc = roc_auc_score(truth, scores, multi_class="ovr")
        metrics = {"accuracy": accuracy_score(truth, predicted.argmax(axis=1)), "auc": auc}
    options.output.write_text(json.dumps({**metrics, "seconds": time.time() - started}))
