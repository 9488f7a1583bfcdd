"""Ranges of numeric columns, which an embedding has as inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.config import DataConfig
from pipelines.data.loading import load
from pipelines.encoding.pieces import MAX_PIECES, learn_pieces

RNG = np.random.default_rng(0)


def test_each_range_has_about_as_many_rows_and_is_filled_from_its_lower_to_its_upper_end() -> None:
    x = np.exp(RNG.normal(size=(4000, 2))).astype(np.float32)
    pieces = learn_pieces(x, [True, False], 1.0, np.array([2.0, 1.0]))
    assert pieces is not None
    assert len(pieces) == MAX_PIECES
    assert set(pieces.feature) == {0}
    scaled = (x - 1) / np.array([2.0, 1.0])
    kernel, bias = pieces.weights(2)
    inside = np.clip(scaled @ kernel + bias, 0, 1)
    reached = (inside > 0).mean(0)
    np.testing.assert_allclose(-np.diff(reached), 1 / MAX_PIECES, atol=0.01)
    np.testing.assert_allclose(
        inside.sum(1), np.interp(scaled[:, 0], [*pieces.low, pieces.high[-1]], range(MAX_PIECES + 1)), atol=0.02
    )


def test_equal_numbers_and_few_rows_make_fewer_ranges() -> None:
    few = RNG.integers(0, 3, (4000, 1)).astype(np.float32)
    pieces = learn_pieces(few, [True], 0.0, 1.0)
    assert pieces is not None
    assert [*pieces.low, pieces.high[-1]] == [0, 1, 2]
    assert learn_pieces(few[:79], [True], 0.0, 1.0) is None
    assert learn_pieces(np.minimum(few, 1), [True], 0.0, 1.0) is None, "a range alone says what the number says"


def test_wide_tables_have_fewer_ranges_for_each_column() -> None:
    x = RNG.normal(size=(2000, 1000)).astype(np.float32)
    pieces = learn_pieces(x, [True] * 1000, 0.0, 1.0)
    assert pieces is not None
    assert len(pieces) == 4000


def test_a_table_has_them_and_arrays_have_none(tmp_path: Path) -> None:
    pd.DataFrame({"a": RNG.normal(size=300), "b": ["x", "y", "z"] * 100, "target": [0, 1] * 150}).to_csv(
        tmp_path / "t.csv", index=False
    )
    table = load(DataConfig(str(tmp_path / "t.csv")))
    assert table.pieces is not None
    assert set(table.pieces.feature) == {0}
    assert "embedding" not in table.unfit(0)
    assert {"shift", "flip"} <= table.unfit(0).keys()
    digits = load(DataConfig("digits"))
    assert digits.unfit(0).keys() == {"embedding"}
