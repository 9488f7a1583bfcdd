"""Arrays of an archive that say how rows are weighted and split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_tables import N_ROWS, RNG, TARGET

from pipelines.config import DataConfig
from pipelines.data import loading, sealed
from pipelines.errors import DataError

ROW = np.arange(N_ROWS)
WEIGHT = RNG.uniform(0.5, 2, N_ROWS)
GROUP = ROW // 6
PART = np.array(["Training", "train", " VALID", "Dev", "test", "train"])[ROW % 6]


def archive(path: Path, *, own: bool = False, **arrays: np.ndarray) -> DataConfig:
    x = RNG.normal(size=(N_ROWS, 3)).astype(np.float32)
    x[:, 0] = ROW
    given = {"x": x, "y": TARGET}
    if own:
        given = {"x_train": x, "y_train": TARGET, "x_val": x[:30] + 0.5, "y_val": TARGET[:30]}
        given |= {"x_test": x[:60] + 0.2, "y_test": TARGET[:60]}
    np.savez(path / "own.npz", **given, **arrays)
    return DataConfig(str(path / "own.npz"))


def test_arrays_of_an_archive_weigh_its_rows(tmp_path: Path):
    config = archive(tmp_path, sample_weight=WEIGHT)
    dataset, test = loading.load(config), sealed.open_test(config)
    for split in (dataset.training, dataset.validation, test):
        rows = split.x[:, 0].astype(int)
        assert split.weight == pytest.approx(WEIGHT[rows] / WEIGHT[rows].mean(), rel=1e-5)
    ends = {"sample_weight_val": WEIGHT[:30], "sample_weight_test": WEIGHT[:60, None]}
    config = archive(tmp_path, own=True, sample_weight_train=WEIGHT, **ends)
    dataset, test = loading.load(config), sealed.open_test(config)
    for split, n_rows in ((dataset.training, N_ROWS), (dataset.validation, 30), (test, 60)):
        assert split.weight == pytest.approx(WEIGHT[:n_rows] / WEIGHT[:n_rows].mean(), rel=1e-5)
    config = archive(tmp_path, own=True, sample_weight=WEIGHT)
    dataset, test = loading.load(config), sealed.open_test(config)
    assert dataset.training.weight is not None
    assert dataset.validation.weight is test.weight is None
    assert any("there is no array 'sample_weight_val'" in note for note in dataset.notes)
    assert not any("not used" in note for note in dataset.notes)


def test_equal_weights_of_an_archive_change_nothing(tmp_path: Path):
    plain = loading.load(archive(tmp_path))
    np.savez(tmp_path / "other.npz", **np.load(tmp_path / "own.npz"), sample_weight=np.full(N_ROWS, 2))
    other = loading.load(DataConfig(str(tmp_path / "other.npz")))
    assert other.fingerprint == plain.fingerprint
    assert other.training.weight is None


def test_arrays_of_an_archive_split_its_rows(tmp_path: Path):
    days = np.datetime64("2024-01-01") + RNG.permutation(N_ROWS)
    arrays = {"groups": GROUP, "patient": GROUP // 2, "row": ROW, "day": days, "part": PART.astype("S")}
    own = archive(tmp_path, **arrays)

    def parts(**settings: object) -> list[np.ndarray]:
        config = DataConfig(own.source, **settings)
        dataset, test = loading.load(config), sealed.open_test(config)
        return [split.x[:, 0].astype(int) for split in (dataset.training, dataset.validation, test)]

    for values, found in ((GROUP, parts()), (GROUP // 2, parts(group="patient"))):
        kept = [set(values[rows]) for rows in found]
        assert sum(map(len, kept)) == len(set.union(*kept))
    notes = loading.load(own).notes
    assert any("array 'day': not used" in note and "time or split in [data] names" in note for note in notes)
    training, validation, test = parts(time="day")
    assert (
        "array 'groups': not used, because data.time splits the rows"
        in loading.load(DataConfig(own.source, time="day")).notes
    )
    assert days[training].max() < days[validation].min() <= days[validation].max() < days[test].min()
    with pytest.raises(DataError, match="rows of one group"):
        parts(split="part")
    training, validation, test = parts(split="part", group="row")
    assert set(test % 6) == {4}
    assert set(validation % 6) == {2, 3}


def test_groups_of_an_archive_are_named_when_rows_are_split(tmp_path: Path):
    path = tmp_path / "own.npz"
    np.savez(path, x=np.stack([ROW, ROW], 1), y=TARGET, groups=ROW % 2)
    with pytest.raises(DataError, match=r"own\.npz: array 'groups', data\.group: must hold at least 3 different"):
        loading.load(DataConfig(str(path)))


def unused(config: DataConfig) -> set[str]:
    return {note for note in loading.load(config).notes if ": not used, got" in note}


def test_shares_beside_own_rows_of_an_archive_are_named(tmp_path: Path):
    x, path = np.stack([ROW, ROW % 5], 1), tmp_path / "own.npz"
    own = {"x_train": x, "y_train": TARGET, "x_test": x, "y_test": TARGET}
    np.savez(path, **own)
    given = {"validation_fraction": 0.3, "test_fraction": 0.1, "split_seed": 7}
    of_test = "data.test_fraction: not used, got 0.1, but the file has test rows of its own"
    assert unused(DataConfig(str(path), **given)) == {of_test}
    np.savez(path, **own, x_val=x, y_val=TARGET)
    assert unused(DataConfig(str(path), **given)) == {
        of_test,
        "data.validation_fraction: not used, got 0.3, but the file has validation rows of its own",
        "data.split_seed: not used, got 7, but no row is drawn at random",
    }


def test_rows_of_two_splits_keep_their_relative_weights_where_they_are_joined(tmp_path: Path):
    """Recent rows count more, as after a split by time; or one split has weights and the other has none."""
    weight = np.where(ROW < N_ROWS // 2, 0.25, 2.0)
    newer = {"sample_weight_val": np.full(30, 2.0), "sample_weight_test": np.ones(60)}
    dataset = loading.load(archive(tmp_path, own=True, sample_weight=weight, **newer))
    assert dataset.validation.weight is None
    joined = dataset.training.joined(dataset.validation)
    whole = np.concatenate([weight, newer["sample_weight_val"]])
    assert joined.weight == pytest.approx(whole / whole.mean(), rel=1e-5)
    dataset = loading.load(archive(tmp_path, own=True, sample_weight=1e4 * weight))
    joined = dataset.training.joined(dataset.validation)
    assert joined.weight[N_ROWS:] == pytest.approx(1), "rows without weights count as those with weights do on average"


def test_validation_rows_of_its_own_are_in_no_group_of_the_training_rows(tmp_path: Path):
    x = RNG.normal(size=(N_ROWS, 3)).astype(np.float32)
    x[:, 0] = ROW
    np.savez(tmp_path / "g.npz", x_train=x, y_train=TARGET, x_val=x[:30] + 0.5, y_val=TARGET[:30], groups=GROUP)
    config = DataConfig(str(tmp_path / "g.npz"))
    dataset, test = loading.load(config), sealed.open_test(config)
    kept = [{*GROUP[split.x[:, 0].astype(int)]} for split in (dataset.training, test)]
    assert len(test.y)
    assert kept[0].isdisjoint(kept[1])
    assert dataset.validation.group is not None
    assert len({*dataset.validation.group}) == 30
    assert {*dataset.validation.group}.isdisjoint(dataset.training.group)


def test_weights_of_its_own_test_rows_are_checked_before_a_search(tmp_path: Path):
    weights = {"sample_weight": WEIGHT, "sample_weight_val": WEIGHT[:30]}
    for wrong, rule in (
        (np.zeros(60), "some weights must be above 0, got 0 in every row"),
        ((TARGET[:60] != TARGET[0]).astype(float), f"each class must have test rows .* got none of '{TARGET[0]}'"),
    ):
        config = archive(tmp_path, own=True, **weights, sample_weight_test=wrong)
        with pytest.raises(DataError, match=rule):
            loading.load(config)


def test_labels_of_two_whole_types_are_the_same_classes(tmp_path: Path):
    x, y = RNG.normal(size=(N_ROWS, 3)).astype(np.float32), RNG.integers(0, 2, N_ROWS)
    own = {"x_train": x, "x_val": x[:30] + 1, "x_test": x[:60] + 2}
    np.savez(tmp_path / "y.npz", **own, y_train=y.astype(np.uint64), y_val=y[:30].astype(np.int64), y_test=y[:60])
    config = DataConfig(str(tmp_path / "y.npz"))
    assert loading.load(config).class_names == ("0", "1")
    assert (sealed.open_test(config).y == y[:60]).all()


def test_weights_that_differ_between_splits_alone_are_kept(tmp_path: Path):
    dataset = loading.load(archive(tmp_path, own=True, sample_weight=np.ones(N_ROWS), sample_weight_val=np.full(30, 2)))
    assert dataset.validation.mean_weight == pytest.approx(2 * dataset.training.mean_weight)
    weight = dataset.training.joined(dataset.validation).weight
    assert weight.max() / weight.min() == pytest.approx(2)


@pytest.mark.parametrize("kind", [">i4", ">u2", ">f8"])
def test_groups_may_have_any_order_of_bytes(tmp_path: Path, kind: str):
    dataset = loading.load(archive(tmp_path, groups=GROUP.astype(kind)))
    parts = [set((split.x[:, 0] // 6).astype(int)) for split in (dataset.training, dataset.validation)]
    assert parts[1]
    assert not parts[0] & parts[1], "rows of a group are in one split"
