"""The command line around its commands: start, help, streams and errors."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from command_line import call, command, files, spawn

import search

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


def test_no_color_without_a_terminal(tmp_path: Path) -> None:
    answer = spawn("datasets", "digits", cwd=tmp_path, FORCE_COLOR="", TERM="xterm-256color")
    assert "\x1b" not in answer.out + answer.err


def test_json_is_one_line_of_ascii() -> None:
    answer = call("datasets", "digits", "--folds", "1", "--json")
    assert answer.out.isascii()
    assert json.loads(answer.out)["name"] == "digits"
    assert answer.err == ""
