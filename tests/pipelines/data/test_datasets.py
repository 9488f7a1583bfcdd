"""Results of ``load`` and ``describe`` for each kind of source."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.config import DataConfig
from pipelines.data import loading
from pipelines.data.datasets import Dataset
from pipelines.data.description import describe

N_ROWS = 120


def arrays(n_rows: int = N_ROWS, shape: tuple[int, ...] = (4,)):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n_rows, *shape)), np.arange(n_rows) % 3


def table(n_rows: int = N_ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 10, n_rows),
            "smoker": rng.random(n_rows) < 0.5,
            "city": rng.choice(["Oslo", "Rome", "Lima"], n_rows),
            "species": np.where(np.arange(n_rows) % 3 == 0, "cat", "dog"),
        }
    )
    frame.loc[::7, "age"] = np.nan
    frame["city"] = frame["city"].mask(np.arange(n_rows) % 11 == 0)
    return frame


def rows_of(dataset: Dataset) -> np.ndarray:
    return np.concatenate([dataset.training.x, dataset.validation.x])


def test_digits_are_split_with_classes_in_proportion():
    dataset = loading.load(DataConfig("digits"))

    assert dataset.training.x.shape == (1149, 8, 8)
    assert dataset.training.x.dtype == np.uint8
    assert (len(dataset.validation.y), dataset.n_test) == (288, 360)
    assert dataset.class_names == tuple("0123456789")
    assert (dataset.preprocessing.center, dataset.preprocessing.scale) == (0.0, 16.0)
    shares = np.bincount(dataset.training.y) / np.bincount(np.concatenate([dataset.training.y, dataset.validation.y]))
    assert np.all(np.abs(shares - 0.8) < 0.01)


@pytest.mark.mnist
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_full_pictures_are_kept_as_bytes(name: str, mnist_folder: Path):
    dataset = loading.load(DataConfig(name), [mnist_folder])

    assert dataset.training.x.shape == (48_000, 28, 28)
    assert dataset.validation.x.shape == (12_000, 28, 28)
    assert dataset.n_test == 10_000
    assert dataset.training.x.dtype == dataset.validation.x.dtype == np.uint8
    assert dataset.training.x.base is None, "a view would keep all rows in memory"
    assert (dataset.preprocessing.center, dataset.preprocessing.scale) == (0.0, 255.0)
    assert dataset.class_names[9] == {"mnist": "9", "fashion_mnist": "Ankle boot"}[name]


@pytest.mark.mnist
def test_the_fingerprint_of_mnist_is_the_same_on_every_machine(mnist_folder: Path):
    assert loading.load(DataConfig("mnist"), [mnist_folder]).fingerprint == "cadfa44cf1d6011f"


def test_the_split_of_digits_is_the_same_on_every_machine():
    dataset = loading.load(DataConfig("digits"))

    assert dataset.fingerprint == "c8c533b60cc16678"
    assert dataset.training.y[:12].tolist() == [8, 9, 3, 8, 9, 0, 5, 3, 7, 6, 5, 9]


@pytest.mark.parametrize(
    ("labels", "class_names"),
    [
        (np.array([2, 10, 9]), ("2", "9", "10")),
        (np.array([2.0, 10.0, -1.0]), ("-1", "2", "10")),
        (np.array(["b", "a", "Z"]), ("Z", "a", "b")),
        (np.array([b"b", b"a", b"c"]), ("a", "b", "c")),
        (np.array([True, False, True]), ("False", "True")),
        (np.array([[7], [8], [9]], dtype=np.uint8), ("7", "8", "9")),
    ],
)
def test_labels_of_every_kind_become_class_numbers(tmp_path: Path, labels: np.ndarray, class_names: tuple[str, ...]):
    x, y = arrays()
    np.savez(tmp_path / "own.npz", x=x, y=labels[y])

    dataset = loading.load(DataConfig(str(tmp_path / "own.npz")))

    assert dataset.class_names == class_names
    assert dataset.training.y.dtype == np.int32
    values = {row.tobytes(): str(np.ravel(labels[number])[0]) for row, number in zip(np.float32(x), y, strict=True)}
    wanted = [values[row.tobytes()] for row in dataset.training.x]
    got = [dataset.class_names[number] for number in dataset.training.y]
    assert [name.removesuffix(".0").removeprefix("b'").removesuffix("'") for name in wanted] == got


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16, np.float64, np.bool_, ">f4"])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)])
def test_inputs_of_any_rank_and_type(tmp_path: Path, dtype: object, shape: tuple[int, ...]):
    x, y = arrays(shape=shape)
    x = np.asfortranarray(np.abs(x * 10).astype(dtype))
    np.savez(tmp_path / "own.npz", x=x, y=y)

    dataset = loading.load(DataConfig(str(tmp_path / "own.npz")))

    kept = np.uint8 if dtype is np.uint8 else np.float32
    assert dataset.input_shape == shape
    assert dataset.training.x.dtype == kept
    assert dataset.training.x.flags.c_contiguous
    sent = {row.tobytes() for row in np.ascontiguousarray(x.astype(kept))}
    assert {row.tobytes() for row in rows_of(dataset)} <= sent


def test_no_row_is_in_two_splits(tmp_path: Path):
    np.savez(tmp_path / "own.npz", x=np.arange(N_ROWS, dtype=np.float32)[:, None], y=np.arange(N_ROWS) % 3)

    dataset = loading.load(DataConfig(str(tmp_path / "own.npz")))

    assert (len(dataset.training.y), len(dataset.validation.y), dataset.n_test) == (76, 20, 24)
    assert len(np.unique(rows_of(dataset))) == 96


def test_the_fingerprint_depends_on_the_arrays_and_the_split_alone(tmp_path: Path):
    x, y = arrays()

    def fingerprint(name: str, save=np.savez, x_test=x, **settings: object) -> str:
        save(tmp_path / name, x_train=x, y_train=y, x_test=x_test, y_test=y)
        return loading.load(replace(DataConfig(str(tmp_path / name)), **settings)).fingerprint

    one = fingerprint("one.npz")
    assert one == fingerprint("other_name.npz", np.savez_compressed)
    assert one == fingerprint("one.npz", scaling="standard")
    assert one == fingerprint("one.npz", test_fraction=0.3), "it has test rows of its own"
    others = [
        fingerprint("one.npz", split_seed=1),
        fingerprint("one.npz", validation_fraction=0.3),
        fingerprint("one.npz", x_test=x + 1),
        fingerprint("one.npz", x_test=x[:, ::-1]),
    ]
    assert len({one, *others}) == 5


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_with_gaps_and_text_is_encoded(tmp_path: Path, suffix: str):
    path, frame = tmp_path / f"pets{suffix}", table()
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)

    dataset = loading.load(DataConfig(str(path), target="species"))

    assert dataset.name == "pets"
    assert dataset.class_names == ("cat", "dog")
    # age and its indicator, smoker, three cities
    assert dataset.training.x.shape == (76, 6)
    assert np.isfinite(dataset.training.x).all()
    assert dataset.preprocessing.center.shape == dataset.preprocessing.scale.shape == (6,)


def test_a_saved_index_and_a_name_column_are_not_learned_from(tmp_path: Path):
    frame = table().assign(name=[f"pet {number}" for number in range(N_ROWS)])
    frame.to_csv(tmp_path / "pets.csv")

    description = describe(DataConfig(str(tmp_path / "pets.csv"), target="species"))

    ignored = {column.name: column.note for column in description.columns if column.kind == "ignored"}
    assert ignored.keys() == {"Unnamed: 0", "name"}
    assert ignored["name"] == "76 different texts in 76 rows"
    assert description.input_shape == (6,)


def test_describe_counts_training_and_validation_rows(tmp_path: Path):
    frame = table()
    frame.to_csv(tmp_path / "pets.csv", index=False)
    config = DataConfig(str(tmp_path / "pets.csv"), target="species")

    description = describe(config)

    assert description.n_rows == {"training": 76, "validation": 20, "test": 24}
    assert {name: sum(counts) for name, counts in description.class_counts.items()} == {
        "training": 76,
        "validation": 20,
    }
    kinds = [(column.name, column.kind, column.n_features) for column in description.columns]
    assert kinds == [("age", "numeric", 2), ("smoker", "boolean", 1), ("city", "category", 3)]
    missing = {column.name: column.n_missing for column in description.columns}
    assert 0 < missing["age"] <= frame["age"].isna().sum()
    assert missing["smoker"] == 0
    assert description.fingerprint == loading.load(config).fingerprint


def test_a_dataset_survives_pickling():
    dataset = loading.load(DataConfig("digits", scaling="standard"))
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.preprocessing == dataset.preprocessing
    assert np.array_equal(copy.training.x, dataset.training.x)
