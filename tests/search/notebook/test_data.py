"""Data of a Python process, saved and searched."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import search
from pipelines.errors import DataError, InputError, UnavailableError

rng = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "area": np.where(np.arange(120) % 7 == 0, np.nan, rng.normal(size=120)),
        "kind": pd.Categorical(rng.choice(["flat", "house"], 120)),
        "built": pd.date_range("2001-01-01", periods=120, freq="D", tz="Europe/Berlin"),
        "rooms": pd.array(rng.integers(1, 6, 120), dtype="Int64"),
        "stay": pd.to_timedelta(rng.integers(0, 100, 120), unit="h"),
        7: rng.random(120) > 0.5,
        "town": rng.choice([None, "Ulm", "Bonn"], 120),
        "price": rng.normal(size=120),
    }
)
ROWS, LABELS = rng.normal(size=(60, 4)).astype(np.float32), rng.choice(["cat", "dog"], 60)


def test_a_frame_is_searched_and_predicted(tmp_path: Path) -> None:
    source = search.save_data("my houses", FRAME, home=tmp_path)
    spec = search.default_spec(source, target="price", trials=1, epochs=1, width=8, folds=1)
    assert (spec.name, Path(source).parent) == ("my houses", tmp_path / "datasets")
    result = search.run_study(spec, home=tmp_path)
    assert result.best
    assert result.best.value is not None
    assert len(result.validation_rows().y) > 0


def test_equal_data_is_the_same_file_and_other_data_is_refused(tmp_path: Path) -> None:
    for arguments in ({"frame": FRAME}, {"x": ROWS, "y": LABELS}):
        name = "-".join(["mine", *arguments])
        first = search.save_data(name, **arguments, home=tmp_path)
        content = Path(first).read_bytes()
        assert search.save_data(name, **arguments, home=tmp_path) == first
        assert Path(first).read_bytes() == content
        other = {key: values[:50] for key, values in arguments.items()}
        with pytest.raises(InputError, match="must hold the same data, got other"):
            search.save_data(name, **other, home=tmp_path)
        assert Path(first).read_bytes() == content
    assert sorted(path.name for path in (tmp_path / "datasets").iterdir()) == ["mine-frame.parquet", "mine-x-y.npz"]


def test_equal_arrays_in_another_form_are_the_same_file(tmp_path: Path) -> None:
    path = Path(search.save_data("mine", x=ROWS, y=LABELS, home=tmp_path))
    content = path.read_bytes()
    search.save_data("mine", y=LABELS, x=np.asfortranarray(ROWS).astype(">f4"), home=tmp_path)
    assert path.read_bytes() == content, "a study knows its file by its bytes"
    with pytest.raises(InputError, match="must hold the same data"):
        search.save_data("mine", x=ROWS.astype(np.float64), y=LABELS, home=tmp_path)


@pytest.mark.parametrize("values", [[0, 1, 2], [0, 1.5, 2], [True, False, True], ["a", "b", "c"]])
def test_objects_of_one_kind_are_an_array_of_that_kind(values: list[object], tmp_path: Path) -> None:
    path = search.save_data("mine", x=ROWS[:3], y=np.array(values, dtype=object), home=tmp_path)
    with np.load(path) as saved:
        assert saved["y"].tolist() == values


def test_arrays_keep_their_values(tmp_path: Path) -> None:
    texts = pd.Series(LABELS, dtype=object)
    with np.load(search.save_data("shapes", x=ROWS, y=texts, home=tmp_path), allow_pickle=False) as saved:
        assert saved["x"].dtype == np.float32
        assert np.array_equal(saved["x"], ROWS)
        assert saved["y"].tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("name", "arguments", "line"),
    [
        ("digits", {"frame": FRAME}, "name: must be .* not be that of a built-in dataset, got 'digits'"),
        ("../up", {"frame": FRAME}, r"name: must be .*, got '\.\./up'"),
        ("none", {}, r"save_data\('none'\): needs a frame, or arrays"),
        ("both", {"frame": FRAME, "x": ROWS}, r"save_data\('both'\): needs a frame, or arrays"),
        ("array", {"frame": ROWS}, "frame: must be a pandas frame, got ndarray"),
        ("mixed", {"frame": pd.DataFrame({"a": [1, "b"]})}, r"frame: each column must hold .*'b'"),
        ("twice", {"frame": pd.DataFrame([[1, 2]], columns=["a", "a"])}, "Duplicate column names found"),
        (
            "objects",
            {"x": np.array(["a", None], dtype=object)},
            "x: must hold truth values, numbers or texts .* got None",
        ),
        ("kinds", {"y": np.array(["a", 1], dtype=object)}, "y: must hold truth values, numbers or texts alone, got 1"),
        ("complex", {"x": ROWS + 1j, "y": LABELS}, "x: must hold real numbers, got complex"),
        ("upper", {"X": ROWS, "Y": LABELS}, "must have x and y, or x_train and y_train, got X, Y: rename them"),
        ("é" * 150, {"x": ROWS, "y": LABELS}, "cannot be written .File name too long"),
        ("intervals", {"frame": pd.DataFrame({"range": pd.cut(FRAME["area"], 3)})}, "frame: each column must hold"),
        ("surrogate", {"frame": pd.DataFrame({"a": ["\ud800"]}, dtype=object)}, "frame: each column must hold"),
        ("masked", {"x": np.ma.masked_array(ROWS, mask=ROWS > 0)}, "x: must have no masked values"),
        (5, {"frame": FRAME}, "name: must be .* got 5"),
        ("ragged", {"x": [[1, 2], [3]]}, "x: must be an array"),
    ],
)
def test_wrong_data_gets_one_line_and_leaves_no_file(
    name: str, arguments: dict[str, object], line: str, tmp_path: Path
) -> None:
    with pytest.raises((InputError, DataError, UnavailableError)) as caught:
        search.save_data(name, **arguments, home=tmp_path)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert re.search(line, str(caught.value))
    assert not list(tmp_path.glob("datasets/*"))


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(UnavailableError, match="must be a folder that can be written"):
        search.save_data("mine", FRAME, home=tmp_path / "home")


@pytest.mark.parametrize("key", ["file", "allow_pickle"])
def test_a_name_that_no_array_can_have_is_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"must not have an array named {key}"):
        search.save_data("mine", x=ROWS, **{key: LABELS}, home=tmp_path)


def test_arrays_of_different_lengths_are_refused_and_leave_no_file(tmp_path: Path) -> None:
    for end in ("", "_train", "_test"):
        with pytest.raises(DataError, match=rf"x{end} and y{end}: must have a row for each label"):
            search.save_data("mine", **{f"x{end}": ROWS, f"y{end}": LABELS[:10]}, home=tmp_path)
    assert not list(tmp_path.glob("datasets/*"))


def test_a_frame_and_arrays_do_not_share_a_name(tmp_path: Path) -> None:
    search.save_data("mine", FRAME, home=tmp_path)
    with pytest.raises(InputError, match=r"mine\.parquet: must hold the same data, got other"):
        search.save_data("mine", x=ROWS, y=LABELS, home=tmp_path)
    assert [path.name for path in (tmp_path / "datasets").iterdir()] == ["mine.parquet"]


def test_a_number_that_no_file_holds_is_refused_in_one_line(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": [2**70, 1], "target": [0, 1]})
    with pytest.raises(DataError, match="frame: each column must hold numbers, dates, truth values or texts alone"):
        search.save_data("huge", frame, home=tmp_path)


def test_a_name_is_no_specification(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"spec: must be a StudySpec, got 'digits': search.default_spec makes that"):
        search.run_study("digits", home=tmp_path)
