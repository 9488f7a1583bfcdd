"""``datasets`` and ``init``: looking at data, and writing a study file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import call, files
from PIL import Image

from search.spec.reading import default_spec, read_spec


class TestInit:
    """``init``."""

    def test_it_writes_a_valid_study_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        answer = call("init")
        assert answer.code == 0
        assert answer.out == "wrote study.toml\n"
        assert read_spec("study.toml").data.source == "digits"

    def test_json(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.toml"
        assert call("init", path, "--json").json() == {"path": str(path)}

    def test_it_names_the_data(self, tmp_path: Path) -> None:
        path = tmp_path / "wine.toml"
        assert call("init", path, "--source", "wine.csv", "--target", "quality").code == 0
        spec = read_spec(path)
        assert (spec.name, spec.data.source, spec.data.target) == ("wine", "wine.csv", "quality")
        default = default_spec("wine.csv", target="quality")
        assert (spec.space, spec.start) == (default.space, default.start), "as run wine.csv without a file"

    def test_a_file_that_is_not_there_yet_is_named_and_what_no_source_can_be_is_refused(self, tmp_path: Path) -> None:
        answer = call("init", tmp_path / "own.toml", "--source", tmp_path / "later.csv", "--target", "y")
        assert (answer.code, "no such file" in answer.err) == (0, True)
        wrong = [("--source", "rows.txt"), ("--target", "y"), ("--source", "rows.npz", "--target", "y")]
        for number, options in enumerate(wrong):
            path = tmp_path / f"{number}.toml"
            assert call("init", path, *options).code == 1
            assert not path.exists()

    @pytest.mark.parametrize("name", ["-x", ".hidden", "x "])
    def test_a_file_whose_name_no_study_may_have_is_to_be_renamed(self, name: str, tmp_path: Path) -> None:
        answer = call("init", tmp_path / "s.toml", "--source", tmp_path / f"{name}.csv")
        assert (answer.code, answer.out) == (1, "")
        assert answer.err.startswith("error: --source: the file's name, which the study gets, must be 1 to 200 ")
        assert answer.err.endswith(f"got {name!r}: rename the file\n")
        assert files(tmp_path) == set()

    def test_it_never_overwrites(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.toml"
        path.write_text("mine")
        assert call("init", path).code == 1
        assert path.read_text() == "mine"


class TestDatasets:
    """``datasets``."""

    def test_the_list_tells_which_are_on_this_machine(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLP_SEARCH_DATA", str(tmp_path))
        (tmp_path / "mnist.npz").touch()
        found = call("datasets", "--json", "--home", tmp_path / "home").json()
        available = {"digits": True, "mnist": True, "fashion_mnist": False}
        assert found == [{"name": name, "available": there} for name, there in available.items()]
        shown = call("datasets", "--home", tmp_path / "home").out
        assert [line.split()[1] for line in shown.splitlines() if line.strip().startswith(tuple(available))] == [
            "yes",
            "yes",
            "no:",
        ]

    def test_one_dataset(self) -> None:
        shown = call("datasets", "digits", "--folds", "1").out
        assert "1,149 training, 288 validation, 360 test (held out)" in shown
        assert "8 x 8 uint8, from 0 to 16" in shown
        found = call("datasets", "digits", "--folds", "1", "--json").json()
        assert found["n_rows"] == {"training": 1149, "validation": 288, "test": 360}
        assert sum(found["class_counts"]["training"]) == 1149
        assert found["input_shape"] == [8, 8]
        assert found["value_range"] == [0, 16]

    def test_a_table_with_gaps(self, tmp_path: Path) -> None:
        path = tmp_path / "iris.csv"
        rows = [f"{i}.5,{['red', 'blue', ''][i % 3]},{i % 2}" for i in range(30)]
        path.write_text("\n".join(["length,colour,kind", *rows]))
        found = call("datasets", path, "--target", "kind", "--json").json()
        columns = {column["name"]: column for column in found["columns"]}
        assert columns["length"]["n_missing"] == 0
        assert columns["colour"]["n_missing"] > 0
        assert "colour" in call("datasets", path, "--target", "kind").out

    def test_a_grid_of_examples(self, tmp_path: Path) -> None:
        figure = tmp_path / "examples.png"
        found = call("datasets", "digits", "--figure", figure, "--json").json()
        assert found["figure"] == str(figure)
        with Image.open(figure) as image:
            assert len(np.unique(np.asarray(image.convert("L")))) > 16

    def test_labels_are_shown_unchanged(self, tmp_path: Path) -> None:
        labels = ("[red]stop[/red]", ":smile:", "a\x1b[31mb")
        np.savez(tmp_path / "odd.npz", x=np.arange(60.0).reshape(30, 2), y=np.array(labels * 10))
        shown = call("datasets", tmp_path / "odd.npz").out
        assert "[red]stop[/red]" in shown
        assert ":smile:" in shown
        assert "\x1b" not in shown
        assert "a\\x1b[31mb" in shown
