"""Test rows: ``load`` never returns one, and ``open_test`` returns exactly them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.config import DataConfig
from pipelines.data import loading, sealed
from pipelines.errors import DataError

N_ROWS = 90


def own_test_rows(path: Path, y_test: np.ndarray, x_test: np.ndarray | None = None) -> DataConfig:
    x_train = np.arange(N_ROWS, dtype=np.float32)[:, None]
    x_test = 1000 + np.arange(len(y_test), dtype=np.float32)[:, None] if x_test is None else x_test
    np.savez(
        path, x_train=x_train, y_train=np.array(["a", "b", "c"])[np.arange(N_ROWS) % 3], x_test=x_test, y_test=y_test
    )
    return DataConfig(str(path))


@pytest.mark.parametrize("seed", [0, 1])
def test_load_and_open_test_share_out_every_row_once(tmp_path: Path, seed: int):
    path = tmp_path / "own.npz"
    np.savez(path, x=np.arange(N_ROWS, dtype=np.float32)[:, None], y=np.arange(N_ROWS) % 3)
    config = DataConfig(str(path), split_seed=seed)

    dataset, test = loading.load(config), sealed.open_test(config)

    rows = np.concatenate([dataset.training.x, dataset.validation.x, test.x])[:, 0]
    assert sorted(rows.tolist()) == list(range(N_ROWS))
    assert len(test.y) == dataset.n_test == 18
    assert np.array_equal(test.y, test.x[:, 0] % 3)


def test_only_open_test_returns_the_source_s_own_test_rows(tmp_path: Path):
    config = own_test_rows(tmp_path / "own.npz", np.array(["c", "a", "b", "a"]))

    dataset, test = loading.load(config), sealed.open_test(config)

    assert dataset.n_test == 4
    assert max(dataset.training.x.max(), dataset.validation.x.max()) < 1000
    assert test.x[:, 0].tolist() == [1000, 1001, 1002, 1003]
    assert test.y.tolist() == [2, 0, 1, 0]
    assert test.y.dtype == np.int32


def test_test_rows_that_cannot_be_used_are_refused_before_anything_is_trained(tmp_path: Path):
    labels = own_test_rows(tmp_path / "labels.npz", np.array(["a", "z", "y", "z"]))
    values = own_test_rows(tmp_path / "values.npz", np.array(["a"]), np.array([[np.nan]]))
    with pytest.raises(DataError, match=r"y_test: every label must occur in training, got 'y' \(1\), 'z' \(2\): drop"):
        loading.load(labels)
    with pytest.raises(DataError, match="x_test: must hold finite float32 numbers, got 1 NaN or infinite"):
        loading.load(values)


def test_the_test_rows_of_a_table_are_encoded_as_learned_from_training_rows(tmp_path: Path):
    n_rows = 60
    frame = pd.DataFrame({"row": np.arange(n_rows, dtype=float), "kind": "common", "target": np.arange(n_rows) % 2})
    frame.to_csv(tmp_path / "own.csv", index=False)
    config = DataConfig(str(tmp_path / "own.csv"))
    sealed_rows = sealed.open_test(config).x[:, 0].astype(int)
    # In the sealed rows alone: a gap and a category that training rows do not have.
    frame.loc[sealed_rows, "kind"] = "rare"
    frame.loc[sealed_rows[0], "row"] = np.nan
    frame.to_csv(tmp_path / "own.csv", index=False)

    dataset, test = loading.load(config), sealed.open_test(config)

    assert dataset.input_shape == (2,), "no indicator, no second category"
    assert test.x[:, 1].tolist() == [0.0] * len(test.y)
    assert test.x[0, 0] == np.median(dataset.training.x[:, 0])
    assert np.array_equal(test.x[1:, 0], sealed_rows[1:])


@pytest.mark.mnist
def test_the_sealed_rows_of_mnist(mnist_folder: Path):
    test = sealed.open_test(DataConfig("mnist"), [mnist_folder])
    with np.load(mnist_folder / "mnist.npz") as file:
        assert np.array_equal(test.x, file["x_test"])
        assert np.array_equal(test.y, file["y_test"])


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_the_digest_is_that_of_the_test_rows_alone(tmp_path: Path, kind: str):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(300, 4)).astype(np.float32), np.arange(300) % 3
    path = tmp_path / f"data.{kind}"
    if kind == "npz":
        np.savez(path, x_train=x[:200], y_train=y[:200], x_test=x[200:], y_test=y[200:])
    else:
        frame = pd.DataFrame(x, columns=list("abcd")).assign(kind=random.choice(["u", "v"], 300), target=y)
        frame.to_csv(path, index=False)
    opened = sealed.open_test(DataConfig(str(path)))
    same = sealed.open_test(DataConfig(str(path), validation_fraction=0.3))
    assert loading.load(DataConfig(str(path))).fingerprint != same.digest
    assert same.digest == opened.digest
    # An archive's own test rows do not depend on the seed; those of a table are drawn with it.
    assert (sealed.open_test(DataConfig(str(path), split_seed=1)).digest == opened.digest) == (kind == "npz")


def test_the_digest_does_not_depend_on_how_columns_are_read(tmp_path: Path):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=300), "zip": random.integers(10_000, 99_999, 300)})
    frame["day"] = pd.Series(pd.date_range("2020-01-01", periods=300)).dt.strftime("%Y-%m-%d")
    frame["price"] = [f"$ {1000 + row:,}" for row in range(300)]
    path = tmp_path / "data.csv"
    frame.assign(target=np.arange(300) % 3).to_csv(path, index=False)
    plain = sealed.open_test(DataConfig(str(path)))
    assert plain.read_digest == plain.digest
    given: list[dict[str, Any]] = [{"ignore": ["day"]}, {"ignore": ["price", "a"]}, {"text_columns": ["zip"]}]
    opened = [sealed.open_test(DataConfig(str(path), **columns)) for columns in (*given, {"weight": "zip"})]
    assert {test.digest for test in opened} == {plain.digest}
    assert len({plain.digest, *(test.read_digest for test in opened)}) == 4, "as earlier versions had it"


def test_another_label_makes_another_digest(tmp_path: Path):
    x, y = np.arange(40, dtype=np.float32)[:, None], np.arange(40) % 2
    digests = set()
    for name, test in (("a", [0, 1, 0]), ("b", [0, 1, 1])):
        np.savez(tmp_path / f"{name}.npz", x_train=x, y_train=y, x_test=x[:3], y_test=test)
        digests.add(sealed.open_test(DataConfig(str(tmp_path / f"{name}.npz"))).digest)
    assert len(digests) == 2
