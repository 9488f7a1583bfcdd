"""Scaling, imputation and categories: learned from training rows, the same after a round trip."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from pipelines.config import DataConfig, Scaling
from pipelines.data import loading, sealed
from pipelines.data.preprocessing import Preprocessing, learn_scaling
from pipelines.encoding.encoder import TableEncoder
from pipelines.errors import DataError
from pipelines.files.tables import read_table

N_ROWS = 40
NUMBERS = st.floats(-1e6, 1e6, width=32)
TEXTS = st.sampled_from(["red", "Blue", "1", "007", "true", "a, b", 'say "x"', "Zürich", "x\ny"])


def column(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(st.none() | values, min_size=N_ROWS, max_size=N_ROWS)


FRAMES = st.fixed_dictionaries(
    {
        "number": column(NUMBERS),
        "whole": column(st.integers(-9, 9)),
        "flag": column(st.booleans()),
        "text": column(TEXTS),
    }
)


def round_trip(preprocessing: Preprocessing) -> Preprocessing:
    return Preprocessing.from_json(json.loads(json.dumps(preprocessing.to_json())))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(columns=FRAMES, suffix=st.sampled_from([".csv", ".parquet"]))
def test_any_table_is_encoded_alike_when_trained_and_when_predicted(tmp_path_factory, columns, suffix: str):
    frame = pd.DataFrame({**columns, "always": np.arange(N_ROWS), "target": np.arange(N_ROWS) % 2})
    frame = frame.drop(columns=[name for name in frame if frame[name].isna().all()])
    path: Path = tmp_path_factory.mktemp("tables") / f"rows{suffix}"
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    config = DataConfig(str(path))

    dataset, test = loading.load(config), sealed.open_test(config)
    kept = round_trip(dataset.preprocessing)
    encoded = kept.encode(read_table(path, kept.columns.text_columns))

    assert kept == dataset.preprocessing
    assert np.isfinite(encoded).all()
    assert encoded.shape == (N_ROWS, *dataset.input_shape)
    trained = np.concatenate([dataset.training.x, dataset.validation.x, test.x])
    place = [feature.name for feature in kept.columns.columns if feature.n_features].index("always")
    before = sum(feature.n_features for feature in [f for f in kept.columns.columns if f.n_features][:place])
    assert np.array_equal(trained[np.argsort(trained[:, before])], encoded)


def test_a_table_is_encoded_as_calculated_by_hand():
    training = pd.DataFrame(
        {"size": [1.0, None, 3.0, 8.0], "wild": [True, False, None, True], "kind": ["owl", "cat", "owl", "cat"]}
    )
    encoder = TableEncoder.learn(training)

    rows = pd.DataFrame({"kind": ["cat", "emu", None], "extra": 1, "wild": [None, True, False], "size": [2, None, 5]})

    # size, its indicator, wild, its indicator, cat, owl
    assert encoder.encode(rows).tolist() == [[2, 0, 1, 1, 1, 0], [3, 1, 1, 0, 0, 0], [5, 0, 0, 0, 0, 0]]
    assert encoder.encode(rows).dtype == np.float32


@pytest.mark.parametrize(
    ("n_texts", "n_rows", "kind"),
    [(50, 200, "category"), (51, 200, "ignored"), (11, 22, "category"), (11, 21, "ignored"), (10, 10, "category")],
)
def test_texts_that_identify_rows_are_ignored(n_texts: int, n_rows: int, kind: str):
    frame = pd.DataFrame({"text": [f"text {row % n_texts}" for row in range(n_rows)], "age": range(n_rows)})
    text, _ = TableEncoder.learn(frame).columns
    assert (text.kind, text.n_features) == (kind, n_texts if kind == "category" else 0)


def test_one_row_of_numbers_that_look_like_text_categories_is_known(tmp_path: Path):
    frame = pd.DataFrame({"zip": ["01", "02", "x"] * 10, "target": [0, 1] * 15})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    preprocessing = loading.load(DataConfig(str(tmp_path / "rows.csv"))).preprocessing
    (tmp_path / "new.csv").write_text("zip\n01\n")

    rows = read_table(tmp_path / "new.csv", preprocessing.columns.text_columns)

    assert preprocessing.encode(rows).tolist() == [[1, 0, 0]]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ({"age": [1.0]}, "column 'city': must be in the rows"),
        ({"age": ["old"], "city": ["Rome"]}, "column 'age': must hold finite float32 numbers, got 'old'"),
        ({"age": [np.inf], "city": ["Rome"]}, "column 'age': must hold finite float32 numbers, got inf"),
        ({"age": [1e300], "city": ["Rome"]}, "column 'age': must hold finite float32 numbers, got 1e+300"),
    ],
)
def test_rows_that_do_not_fit_are_an_error(rows: dict[str, list[object]], expected: str):
    encoder = TableEncoder.learn(pd.DataFrame({"age": [1.0, 2.0] * 4, "city": ["Rome", "Oslo"] * 4}))
    with pytest.raises(DataError) as caught:
        encoder.encode(pd.DataFrame(rows))
    assert expected in str(caught.value)


def test_all_columns_that_cannot_be_encoded_are_reported(tmp_path: Path):
    n_rows = 60
    frame = pd.DataFrame(
        {
            "pair": [[1, 2]] * n_rows,
            "huge": [1e300] * n_rows,
            "age": ["sixty", *(str(number / 7) for number in range(n_rows - 1))],
            "target": [0, 1] * (n_rows // 2),
        }
    )
    frame.drop(columns="pair").to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(DataError) as caught:
        loading.load(DataConfig(str(tmp_path / "rows.csv")))
    huge, age = caught.value.problems
    assert "column 'huge': must hold finite float32 numbers, got 1e+300 (60 such rows, the first 1, 2, 3)" in huge
    assert "column 'age': must hold numbers alone, got 'sixty' (1 such rows, the first 1): correct these" in age
    with pytest.raises(DataError, match="column 'pair': must hold numbers, booleans, dates or text, got mixed"):
        TableEncoder.learn(frame)


def test_a_model_of_arrays_refuses_a_table():
    preprocessing = Preprocessing((8, 8), ("a", "b"), 0.0, 1.0)
    with pytest.raises(DataError, match=r"must be arrays of shape \(8, 8\) for this model, got a table"):
        preprocessing.encode(pd.DataFrame({"a": [1]}))


@pytest.mark.parametrize("record", [{}, {"input_shape": 3}, {"columns": [{"colour": 1}], "input_shape": []}])
def test_an_incomplete_record_is_an_error(record: dict[str, object]):
    with pytest.raises(DataError, match="preprocessing: must be a record that was saved with a model"):
        Preprocessing.from_json(record)


def test_scaling_has_one_number_for_pictures_and_one_per_feature_otherwise():
    pictures = np.random.default_rng(0).integers(3, 200, (5000, 4, 4)).astype(np.uint8)
    features = pictures.reshape(5000, 16).astype(np.float32)

    assert learn_scaling(pictures, "minmax") == (3.0, 196.0)
    assert learn_scaling(pictures.reshape(5000, 16), "minmax") == (3.0, 196.0)
    assert learn_scaling(pictures.astype(np.float32), "none") == (0.0, 1.0)
    assert learn_scaling(pictures, "standard") == pytest.approx((pictures.mean(), pictures.std()))
    center, scale = learn_scaling(features, "standard")
    assert center.dtype == scale.dtype == np.float32
    np.testing.assert_allclose(center, features.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scale, features.std(axis=0), rtol=1e-5)


@pytest.mark.parametrize("scaling", ["minmax", "standard", "none"])
@given(
    values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=9),
    wide=st.booleans(),
)
@example(values=[0.0, 1e-45], wide=False)
@settings(max_examples=100)
def test_scaling_never_divides_by_zero_and_survives_a_round_trip(scaling: str, values: list[float], wide: bool):
    x = np.array([values, values[::-1]] if wide else [[value] for value in values], dtype=np.float32)

    center, scale = learn_scaling(x, scaling)

    assert np.isfinite(center).all()
    assert np.isfinite(scale).all()
    assert (scale >= np.finfo(np.float32).tiny).all(), "smaller numbers are zero on some devices"
    preprocessing = Preprocessing(x.shape[1:], ("a", "b"), center, scale)
    assert round_trip(preprocessing) == preprocessing
    assert round_trip(preprocessing).center.dtype == np.float32


def test_scaling_is_learned_from_training_rows_alone(tmp_path: Path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 3)).astype(np.float32), np.arange(200) % 2
    np.savez(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x * 1000, y_test=y)

    dataset = loading.load(DataConfig(str(tmp_path / "own.npz"), scaling="minmax"))

    scaled = (dataset.training.x - dataset.preprocessing.center) / dataset.preprocessing.scale
    assert scaled.min(axis=0).tolist() == pytest.approx([0, 0, 0])
    assert scaled.max(axis=0).tolist() == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("scaling", ["auto", "minmax"])
def test_a_text_that_a_csv_takes_for_missing_is_read_as_in_training(tmp_path: Path, scaling: Scaling):
    """A Parquet file and a frame hold it as a text, or as a missing value."""
    texts = ["None", "Attached", "Detached", "NA"]
    frame = pd.DataFrame({"garage": texts * 15, "size": range(60)})
    learned = TableEncoder.learn(frame, scaling=scaling)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    read = read_table(tmp_path / "rows.csv", learned.text_columns, learned.literal_columns)
    np.testing.assert_array_equal(learned.encode(read), learned.encode(frame))

    read = read_table(tmp_path / "rows.csv", (), ())
    learned = TableEncoder.learn(read, scaling=scaling)
    np.testing.assert_array_equal(learned.encode(frame), learned.encode(read))
    assert not learned.unknown(frame)


def test_points_are_decimal_points_in_a_file_whose_fields_commas_separate(tmp_path: Path):
    """Though the training file had decimal commas, in which a point separates thousands."""
    learned = TableEncoder.learn(pd.DataFrame({"size": [1.5, 12.25, 3.125, 7.5] * 5}), {"size": ","})
    for text, expected in (("1.500\n3.125\n7", [1.5, 3.125, 7]), ('"1,5"\n"1.000,5"\n7', [1.5, 1000.5, 7])):
        (tmp_path / "rows.csv").write_text(f"size,other\n{text.replace(chr(10), ',1' + chr(10))},1\n")
        read = learned.in_own_form(read_table(tmp_path / "rows.csv", learned.text_columns, ()))
        assert learned.encode(read)[:, 0].tolist() == expected
