"""Scaling of tables: ``auto`` and ``quantile`` map each column, categories are grouped, arrays keep their scaling."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import skew
from small_tables import TARGET, load, table

from pipelines.config import DataConfig, Scaling
from pipelines.data import loading
from pipelines.data.description import describe
from pipelines.data.preprocessing import Preprocessing, learn_scaling
from pipelines.encoding.categories import rare_below
from pipelines.encoding.column import Column
from pipelines.encoding.encoder import TableEncoder
from pipelines.errors import DataError

RNG = np.random.default_rng(3)
N_ROWS = 2000
COUNTS = np.floor(np.exp(RNG.normal(5, 2, N_ROWS)))


def learn(values: object, scaling: Scaling = "auto") -> Column:
    return TableEncoder.learn(pd.DataFrame({"x": values}), scaling=scaling).columns[0]


def texts(counts: dict[str, int]) -> list[str]:
    return [text for text, count in counts.items() for _ in range(count)]


@pytest.mark.parametrize("name", ["counts", "negative", "both tails"])
def test_auto_draws_in_long_tails(name: str):
    values = {"counts": COUNTS, "negative": 7 - COUNTS, "both tails": RNG.standard_t(1.5, N_ROWS)}[name]
    column = learn(values)
    mapped = column.encode(pd.Series(values))[:, 0]
    assert column.curve.kind == "asinh"
    assert abs(skew(mapped)) < min(2, abs(skew(values)) / 3)
    ordered = np.sort(values)
    assert (np.diff(column.encode(pd.Series(ordered))[:, 0]) >= 0).all(), "a map must keep the order"


def test_auto_keeps_other_numbers_and_adds_ranges():
    values = RNG.normal(50, 4, N_ROWS)
    column = learn(values)
    encoded = column.encode(pd.Series(values))
    assert column.curve is None
    assert np.allclose(encoded[:, 0], values)
    assert encoded.shape == (N_ROWS, 9)
    low, high = column.edges[3:5]
    assert column.encode(pd.Series([low, (low + high) / 2, high]))[:, 4].tolist() == pytest.approx([0, 0.5, 1])
    outside = column.encode(pd.Series([-1e30, 1e30]))
    assert outside[:, 1:].tolist() == [[0] * 8, [1] * 8]


@pytest.mark.parametrize("values", [[0.0, 1.0] * 100, [5.0] * 200, [1.0, 2.0] * 10])
def test_flags_constants_and_short_columns_have_no_ranges(values: list[float]):
    assert learn(values).n_features == 1


def test_quantile_makes_a_normal_distribution_of_any_numbers():
    column = learn(COUNTS, "quantile")
    mapped = column.encode(pd.Series(COUNTS))
    assert mapped.shape == (N_ROWS, 1)
    assert abs(mapped.mean()) < 0.05
    assert mapped.std() == pytest.approx(1, abs=0.05)
    assert np.isfinite(column.encode(pd.Series([-1e30, 1e30, None]))).all()


def test_robust_scales_by_quartiles_in_tables_and_arrays(tmp_path: Path):
    x = np.concatenate([RNG.normal(3, 2, (999, 2)), [[1e9, -1e9]]]).astype(np.float32)
    center, scale = learn_scaling(x, "robust")
    assert center == pytest.approx([3, 3], abs=0.3)
    assert scale == pytest.approx([2, 2], abs=0.3)
    np.savez(tmp_path / "own.npz", x=x, y=np.arange(1000) % 2)
    assert loading.load(DataConfig(str(tmp_path / "own.npz"), scaling="robust")).preprocessing.scale.shape == (2,)
    assert learn_scaling(RNG.integers(0, 200, (50, 4, 4)).astype(np.uint8), "robust")[1] > 10


def test_features_of_categories_and_ranges_are_not_scaled(tmp_path: Path):
    frame = table(price=np.linspace(1, 9, 240), city=np.where(TARGET, "Rome", "Oslo"))
    dataset = load(frame, tmp_path / "own.csv")
    x, preprocessing = dataset.training.x, dataset.preprocessing
    scaled = (x - preprocessing.center) / preprocessing.scale
    are_numbers = np.array(preprocessing.columns.are_numbers)
    assert scaled[:, are_numbers].std(axis=0) == pytest.approx(1, abs=1e-3)
    assert np.array_equal(scaled[:, ~are_numbers], x[:, ~are_numbers])
    assert Preprocessing.from_json(json.loads(json.dumps(preprocessing.to_json()))) == preprocessing


def test_each_column_says_what_it_became(tmp_path: Path):
    prices = np.exp(RNG.normal(5, 2, 2000))
    city = texts({"Rome": 1200, "Oslo": 796, "Bern": 2, "Lima": 2})
    frame = pd.DataFrame({"price": prices, "city": RNG.permutation(city), "on": prices > 100, "target": prices})
    frame.to_csv(tmp_path / "own.csv", index=False)
    columns = describe(DataConfig(str(tmp_path / "own.csv"))).columns
    notes = {column.name: column.note for column in columns}
    assert notes["price"] == "mapped by asinh, 8 ranges"
    assert notes["city"].endswith("rare or further texts share 1")
    assert notes["on"] == ""


def test_arrays_and_pictures_keep_their_scaling_and_refuse_quantile(tmp_path: Path):
    np.savez(tmp_path / "own.npz", x=RNG.normal(size=(100, 2)), y=np.arange(100) % 2)
    source = str(tmp_path / "own.npz")
    found = [loading.load(DataConfig(source, scaling=s)).preprocessing for s in (None, "auto", "minmax")]
    assert found[0] == found[1] == found[2]
    for name in (source, "digits"):
        with pytest.raises(DataError, match=r'data.scaling: "quantile" is for tables, got it for .*choose "robust"'):
            loading.load(DataConfig(name, scaling="quantile"))


@pytest.mark.parametrize(("n_rows", "limit"), [(30, 1), (200, 2), (1000, 5), (8000, 8), (10_000_000, 100)])
def test_what_rare_is_depends_on_the_rows(n_rows: int, limit: int):
    assert rare_below(n_rows) == limit


def test_rare_categories_share_a_feature_with_unknown_ones():
    column = learn(texts({"Rome": 900, "Oslo": 600, "Bern": 4, "Lima": 3}))
    assert (column.categories, column.others, column.n_shared) == (("Oslo", "Rome"), ("Bern", "Lima"), 1)
    rows = pd.Series(["Rome", "Bern", "Lima", "Tokyo", None])
    assert column.encode(rows).tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 0]]
    assert column.unknown(rows) == [None, None, None, "Tokyo", None]


def test_many_categories_are_kept_and_hashed():
    column = learn(texts({f"zip {number}": 3 + number % 40 for number in range(1500)}))
    assert column.kind == "category"
    assert (len(column.categories), column.n_shared, column.n_features) == (100, 32, 132)
    rows = pd.Series([column.categories[0], column.others[0], column.others[0], "unheard of"])
    encoded = column.encode(rows)
    assert encoded.sum(axis=1).tolist() == [1, 1, 1, 1]
    assert encoded[0, 0] == 1
    assert encoded[1:, 100:].sum() == 3
    assert np.array_equal(encoded[1], encoded[2])
    assert Column.from_json(json.loads(json.dumps(column.to_json()))) == column


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ({f"Ann {number}": 1 for number in range(300)}, "300 different texts in 300 rows"),
        ({f"Ann {number}": 2 for number in range(900)}, "900 different texts, each in at most 2 of 1800 rows"),
    ],
)
def test_names_are_ignored_with_the_reason(counts: dict[str, int], reason: str):
    frame = pd.DataFrame({"x": texts(counts)}).assign(age=1.5)
    column = TableEncoder.learn(frame, scaling="auto").columns[0]
    assert (column.kind, column.reason) == ("ignored", reason)


@pytest.mark.parametrize("scaling", ["minmax", "standard", "none"])
def test_scalings_of_earlier_versions_keep_their_features(scaling: Scaling):
    frame = pd.DataFrame(
        {"n": COUNTS, "c": texts({"a": 1995, "b": 4, "c": 1}), "m": [f"t{i % 51}" for i in range(2000)]}
    )
    number, few, many = TableEncoder.learn(frame, scaling=scaling).columns
    assert (number.n_features, few.n_features, many.kind) == (1, 3, "ignored")


def test_a_long_tail_far_from_zero_keeps_its_values():
    values = np.round(1.7e9 + RNG.exponential(100, N_ROWS))
    column = learn(values)
    mapped = column.encode(pd.Series(values))[:, 0]
    assert column.curve.kind == "asinh"
    assert len(np.unique(mapped)) == len(np.unique(values))
    assert skew(mapped) < skew(values)
