"""Predictions from Python: frames and arrays, what is refused, and what a notebook shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from animals import animals_table
from sklearn.datasets import load_digits

from pipelines.errors import DataError, NotFoundError
from search.notebook.data import save_data
from search.registry.predict import predict
from search.registry.promotion import promote
from search.scheduling.run_study import run_study
from search.spec.reading import spec_from_dict

DIGITS = load_digits().images


def test_from_python_rows_are_enough(home: Path, animals: Path):
    frame = predict("digits", DIGITS[:3], home=home).to_frame()
    assert list(frame["label"]) == ["0", "1", "2"]
    assert predict("animals", animals_table()[:2].drop(columns="species"), home=animals).probabilities.shape == (2, 3)
    with pytest.raises(DataError, match="must hold numbers"):
        predict("digits", np.array(["a"]), home=home)
    with pytest.raises(DataError, match="got masked ones: fill them"):
        predict("digits", np.ma.masked_equal(DIGITS[:1], 0), home=home)
    with pytest.raises(DataError, match="must be a pandas DataFrame, an array or a path, got Table: make a DataFrame"):
        predict("animals", pa.Table.from_pandas(animals_table()[:2]), home=animals)
    with pytest.raises(NotFoundError):
        predict("digits", "nowhere.npz", home=home)


def test_an_array_is_no_row_of_a_table(animals: Path, tmp_path: Path):
    """Its values may be encoded or not, and both may have as many columns."""
    n_features = predict("animals", animals_table()[:2].drop(columns="species"), home=animals).rows.shape[1]
    rows = np.zeros((2, n_features), np.float32)
    np.savez(tmp_path / "rows.npz", x=rows)
    names = animals_table()[:2].drop(columns="species").assign(file=["a.npz", "b.npz"])
    assert predict("animals", names, home=animals).probabilities.shape == (2, 3), "a frame whose text ends so"
    for source in (rows, tmp_path / "rows.npz"):
        with pytest.raises(DataError, match="must be a table, as the model was trained on one, got an array"):
            predict("animals", source, home=animals)


def test_a_frame_may_have_numbers_as_names_of_columns(tmp_path: Path):
    """``save_data`` takes such a frame, and names its columns by their texts."""
    frame = pd.DataFrame({0: np.arange(40) % 2, 1: np.random.default_rng(0).normal(size=40), 2: ["a", "b"] * 20})
    document = {
        "study": {"name": "unnamed", "trials": 1},
        "data": {"source": save_data("unnamed", frame, home=tmp_path), "target": "0", "folds": 1},
        "space": {"width": 8, "depth": 1, "learning_rate": 0.01, "epochs": 1, "batch_size": 16},
    }
    run_study(spec_from_dict(document), home=tmp_path)
    promote("unnamed", force="no test of it here", home=tmp_path)
    rows = frame.drop(columns=0)[:3].replace("b", "new")
    predicted = predict("unnamed", rows, home=tmp_path)
    assert predicted.unknown == {"2": [None, "new", None]}
    named = predict("unnamed", rows.rename(columns=str), home=tmp_path)
    assert np.array_equal(predicted.probabilities, named.probabilities)
    assert list(rows.columns) == [1, 2], "the caller's frame stays as it is"


@pytest.mark.parametrize("rows", [{"a": [1]}, [{"a": 1}], pd.Series([1.0])])
def test_rows_of_another_type_are_refused_in_a_line(rows: object, home: Path) -> None:
    with pytest.raises(
        DataError, match=f"rows: must be a pandas DataFrame, an array or a path, got {type(rows).__name__}"
    ):
        predict("digits", rows, home=home)


def test_a_table_without_rows_is_refused(home: Path) -> None:
    with pytest.raises(DataError, match="rows: must hold rows to predict, got none"):
        predict("digits", pd.DataFrame({"a": []}), home=home)


def test_a_notebook_shows_the_first_predictions(home: Path) -> None:
    shown = predict("digits", DIGITS[:12], home=home)._repr_html_()
    assert "digits version 1" in shown
    assert shown.count("<tr>") == 1 + 10
    assert "and 2 more; to_frame() has all" in shown


def test_rows_in_memory_are_not_inverted(home: Path, animals: Path) -> None:
    for model, rows, place in (("digits", DIGITS[:1], home), ("animals", animals_table()[:1], animals)):
        with pytest.raises(DataError, match="invert: only files of pictures have light and dark, got rows"):
            predict(model, rows, invert=True, home=place)
