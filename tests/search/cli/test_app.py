"""The command line around its commands: start, help, completion, study files and datasets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
from command_line import call, command, files, spawn
from mlflow import MlflowClient
from PIL import Image

import search
from pipelines.objectives import OBJECTIVES
from search.spec.reading import default_spec, read_spec

COMMANDS = (
    "datasets", "init", "plan", "train", "run", "studies", "trials", "show", "report", "finalists", "evaluate",
    "promote", "rollback", "models", "predict", "ui", "doctor", "migrate", "compare", "enqueue", "follow",
    "delete", "rename", "prune-models",
)  # fmt: skip
HEAVY = ("tensorflow", "keras", "mlflow", "optuna", "pandas", "numpy", "sklearn", "matplotlib")


def test_the_help_names_every_command(tmp_path: Path) -> None:
    script = shutil.which("mlp-search", path=str(Path(sys.executable).parent))
    assert script is not None
    done = subprocess.run([script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", ["", "run", "train"])
def test_no_help_imports_a_heavy_package(name: str) -> None:
    code = (
        "import sys; from search.cli.app import main; code = main(sys.argv[1:]);"
        f" print(code, [m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    )
    arguments = [*([name] if name else []), "--help"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stderr == "0 []\n"
    assert "--help" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_home_json_and_an_example(name: str) -> None:
    shown = " ".join(call(name, "--help").out.split())
    assert "--home" in shown
    assert "--json" in shown
    assert "Example: " in shown
    assert f"mlp-search {name}" in shown


def test_an_option_shows_its_default() -> None:
    shown = " ".join(call("train", "--help").out.replace("│", " ").split())
    assert "[default: (512)]" in shown
    assert "[default: (Keras's for the optimizer)]" in shown
    assert "[default: 5000]" in call("ui", "--help").out


def test_without_a_command_it_shows_the_help() -> None:
    answer = call()
    assert answer.code == 0
    assert "Usage: mlp-search" in answer.out


def test_the_module_is_the_command(tmp_path: Path) -> None:
    answer = spawn("studies", "--json", cwd=tmp_path)
    assert (answer.code, answer.json(), answer.err) == (0, [], "")
    assert files(tmp_path) == set()


def test_an_unexpected_error_keeps_its_traceback(tmp_path: Path) -> None:
    study = optuna.create_study(study_name="odd", storage=f"sqlite:///{tmp_path}/optuna.db")
    study.set_user_attr("spec", "no version of this program wrote this")
    with pytest.raises(AttributeError):
        call("studies", "--home", tmp_path)


def test_a_closed_pipe_causes_no_traceback(tmp_path: Path) -> None:
    pipe = f"{' '.join(command('datasets', 'digits'))} | head -c 1"
    done = subprocess.run(["bash", "-c", pipe], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
@pytest.mark.parametrize("form", ["--json", ""])
def test_closed_streams_cause_no_traceback(finished_home: Path, form: str, closed: str) -> None:
    typed = " ".join([*command("trials", "tiny", "--home", finished_home), form, closed])
    done = subprocess.run(["bash", "-c", typed], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&- <&-"])
def test_a_search_with_closed_streams(closed: str, tmp_path: Path) -> None:
    typed = command("run", "digits", "--trials", "1", "--folds", "1", "--home", tmp_path, "--workers", "1", "--quiet")
    done = subprocess.run(["bash", "-c", f"{' '.join(typed)} {closed}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert len(search.trials("digits", home=tmp_path)) == 1


@pytest.mark.parametrize("form", ["--json", "--csv", ""])
def test_a_result_that_cannot_be_written_is_one_line(finished_home: Path, form: str) -> None:
    typed = " ".join([*command("trials", "tiny", "--home", finished_home), form])
    done = subprocess.run(["bash", "-c", f"{typed} > /dev/full"], capture_output=True, text=True, check=False)
    assert done.stderr == "error: stdout: must take the result, got No space left on device\n"
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("form", "shown"), [("", r"wrote gr\xf6\xdfe.toml"), ("--json", r'{"path": "gr\u00f6\u00dfe.toml"}')]
)
def test_characters_that_stdout_lacks_are_escaped(form: str, shown: str, tmp_path: Path) -> None:
    typed = ["init", "größe.toml", "-q", *([form] if form else [])]
    answer = spawn(*typed, cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert (answer.code, answer.out, answer.err) == (0, f"{shown}\n", "")


class TestCompletion:
    """The suggestions of the shell after the tab key."""

    def complete(self, typed: str, folder: Path) -> list[str]:
        environ = os.environ | {
            "_MLP_SEARCH_COMPLETE": "complete_bash",
            "COMP_WORDS": f"mlp-search {typed}",
            "COMP_CWORD": str(len(f"{typed} ".split(" ")) - 1),
            "MLP_SEARCH_HOME": str(folder / "home"),
        }
        done = subprocess.run(command(), cwd=folder, env=environ, capture_output=True, text=True, check=False)
        assert done.stderr == ""  # a shell would show it behind what is typed
        return done.stdout.split()

    def test_commands(self, tmp_path: Path) -> None:
        assert self.complete("tr", tmp_path) == ["train", "trials"]

    def test_sources_and_study_files(self, tmp_path: Path) -> None:
        for name in ("mine.toml", "mine.csv", "mine.txt"):
            (tmp_path / name).touch()
        assert self.complete("run m", tmp_path) == ["mine.toml", "mnist", "mine.csv"]
        assert self.complete("plan m", tmp_path) == ["mine.toml", "mnist", "mine.csv"]
        assert self.complete("train m", tmp_path) == ["mnist", "mine.csv"]

    def test_a_folder_is_suggested_once_and_a_link_to_nowhere_not_at_all(self, tmp_path: Path) -> None:
        (tmp_path / "models").mkdir()
        (tmp_path / "mine").symlink_to("a" * 300)  # a name that is too long for every system
        assert self.complete("run m", tmp_path) == ["models/", "mnist"]

    def test_studies_of_the_home(self, tmp_path: Path) -> None:
        (tmp_path / "home").mkdir()
        for name in ("digits", "dunes", "iris"):
            optuna.create_study(study_name=name, storage=f"sqlite:///{tmp_path}/home/optuna.db")
        assert self.complete("trials d", tmp_path) == ["dunes", "digits"]
        assert self.complete(f"show --home {tmp_path}/none d", tmp_path) == []

    def test_registered_models_of_the_home(self, tmp_path: Path) -> None:
        (tmp_path / "home").mkdir()
        client = MlflowClient(f"sqlite:///{tmp_path}/home/mlflow.db")
        for name in ("digits", "dunes", "iris"):
            client.create_registered_model(name)
        assert self.complete("predict d", tmp_path) == ["digits", "dunes"]
        assert self.complete("rollback ir", tmp_path) == ["iris"]
        assert self.complete(f"rollback --home {tmp_path}/none d", tmp_path) == []

    def test_options(self, tmp_path: Path) -> None:
        assert self.complete("run --tr", tmp_path) == ["--trials"]

    def test_values_of_options(self, tmp_path: Path) -> None:
        assert self.complete("run digits --preset ", tmp_path) == ["classic", "strong", "tiny"]
        assert self.complete("run digits --objective val_a", tmp_path) == [
            name for name in OBJECTIVES if name.startswith("val_a")
        ]
        assert self.complete("train digits --optimizer ada", tmp_path) == ["adam", "adamw"]
        assert self.complete("train digits --normalization b", tmp_path) == ["batch"]
        assert self.complete("run digits --trials ", tmp_path) == []

    def test_what_is_wrong_completes_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.complete("run ~nosuch/", tmp_path) == []
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "nosuch://place")
        assert self.complete("trials d", tmp_path) == []


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


def test_no_color_without_a_terminal(tmp_path: Path) -> None:
    answer = spawn("datasets", "digits", cwd=tmp_path, FORCE_COLOR="", TERM="xterm-256color")
    assert "\x1b" not in answer.out + answer.err


def test_json_is_one_line_of_ascii() -> None:
    answer = call("datasets", "digits", "--folds", "1", "--json")
    assert answer.out.isascii()
    assert json.loads(answer.out)["name"] == "digits"
    assert answer.err == ""
