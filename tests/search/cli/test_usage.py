"""The options of every command: versions, -q and -v; and errors of usage."""

from __future__ import annotations

import io
import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from command_line import call
from reports import report_of
from rich.console import Console

from pipelines.config import Hyperparameters, Layer
from search.cli.commands.training import TrainingLines
from search.cli.live import PlainLines, watching
from search.cli.options import duration_s
from search.cli.output_options import with_output_options
from search.reporting import display, screen
from search.scheduling.progress import Progress, SlotView


def test_the_version_and_those_of_the_libraries() -> None:
    shown = call("--version")
    assert shown.code == 0
    assert shown.out.startswith(f"mlp-search {version('mlp-search')} (python ")
    assert f"optuna {version('optuna')}" in shown.out
    found = call("--version", "--json").json()
    assert found["version"] == version("mlp-search")
    assert found["mlflow"] == version("mlflow")


def test_quiet_prints_the_result_only(finished_home: Path) -> None:
    loud, quiet = (call("run", "tiny.toml", "--home", finished_home, *given) for given in ((), ("-q",)))
    assert loud.code == quiet.code == 1  # there is no such file here
    assert loud.err == quiet.err
    loud, quiet = (call("datasets", "digits", "--home", finished_home, *given) for given in ((), ("--quiet",)))
    assert loud.out == quiet.out


class Typed(io.StringIO):
    """What a user types on a terminal."""

    def isatty(self) -> bool:
        return True


class TestVerbosity:
    """What is printed on stderr."""

    def lines(self, level: int) -> list[str]:
        paper = io.StringIO()
        with screen.verbosity(level):
            observer = PlainLines(Console(file=paper, width=120))
            observer.waiting("reading digits")
            made = Progress("digits", slots={0: SlotView("cpu:0", "trial-0007", Hyperparameters(epochs=9))})
            made.report(0, report_of(3, 0.5, 0.9, 0.4, 0.9312))
            observer.update(made)
            observer.update(made)
        return paper.getvalue().splitlines()

    def test_verbose_prints_each_epoch_once_and_the_start_up(self) -> None:
        assert self.lines(0) == []
        start_up, epoch = self.lines(1)
        assert re.fullmatch(r"after .* s: reading digits", start_up)
        assert epoch == "trial-0007 epoch 3/9 val_accuracy 0.9312, 0.0 s"

    def test_quiet_prints_no_note_and_no_progress(self, capsys: pytest.CaptureFixture[str]) -> None:
        with screen.verbosity(-1):
            display.message("a note")
            display.notes(["another"])
            display.suggest("mlp-search ui")
            with watching() as observer:
                observer.note("trial-0007 complete")
        assert capsys.readouterr().err == ""
        display.message("a note")
        assert capsys.readouterr().err == "a note\n"

    def training(self, level: int, capsys: pytest.CaptureFixture[str]) -> list[str]:
        with screen.verbosity(level):
            lines = TrainingLines()
            lines.waiting("reading digits")
            lines.begin((Layer("hidden-1", 64, 4160),))
            lines.epoch(report_of(3, 0.5, 0.9, 0.4, 0.9312))
            lines.note("a note")
        answer = capsys.readouterr()
        return answer.err.splitlines() + [line.split()[0] for line in answer.out.splitlines() if line.strip("─ ")]

    def test_a_training_prints_its_epochs_unless_it_is_quiet(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.training(-1, capsys) == []
        assert self.training(0, capsys) == ["a note", "layer", "hidden-1", "all", "epoch"]
        start_up, *others = self.training(1, capsys)
        assert re.fullmatch(r"after .* s: reading digits", start_up)
        assert others == ["a note", "layer", "hidden-1", "all", "epoch"]

    @pytest.mark.parametrize(
        "command",
        [
            "studies",
            "trials tiny",
            "show tiny 0",
            "compare tiny 0 1",
            "follow tiny",
            "doctor",
            "models",
            "datasets digits",
        ],
    )
    def test_every_command_prints_less_and_more(self, command: str, finished_home: Path) -> None:
        words = [*command.split(), "--home", str(finished_home)]
        plain, quiet, loud = (call(*words, *given) for given in ([], ["-q"], ["-v"]))
        assert (quiet.err, quiet.out) == ("", plain.out) == ("", loud.out)
        first, *_, last = loud.err.splitlines()
        assert first == f"home {finished_home}: Optuna in sqlite:///{finished_home}/optuna.db, MLflow in " + (
            f"sqlite:///{finished_home}/mlflow.db"
        )
        assert last.startswith("took ")

    def test_quiet_lasts_until_the_program_ends(self) -> None:
        """The command that resumes an interrupted search is a remark too."""
        with screen.verbosity(0):
            with_output_options(lambda: None)(as_json=False, quiet=True, verbose=False)
            assert screen.is_quiet()
        assert call("studies", "-q").code == 0
        assert not screen.is_quiet(), "it is of one program, not of the next"

    def test_a_question_names_what_is_deleted(self, finished_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", Typed("n\n"))
        answer = call("prune-models", "tiny", "--keep", "1", "-q", "--home", finished_home)
        assert answer.code == 1
        assert "5 model files" in answer.out + answer.err

    @pytest.mark.parametrize(
        ("ends", "code", "line"), [(EOFError, 1, "nothing was deleted"), (KeyboardInterrupt, 130, "interrupted")]
    )
    def test_a_question_may_be_left(
        self, ends: type[BaseException], code: int, line: str, finished_home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Left(Typed):
            def readline(self, size: int | None = -1, /) -> str:
                raise ends

        monkeypatch.setattr(sys, "stdin", Left())
        answer = call("delete", "tiny", "--home", finished_home)
        assert (answer.code, answer.err.splitlines()[-1]) == (code, line)
        assert call("trials", "tiny", "--home", finished_home).code == 0

    def test_both_are_refused(self) -> None:
        assert call("studies", "-q", "-v").err == "error: -q and -v: choose one of them\n"


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("trials --tpo 3 x", "--tpo: there is no such option; did you mean --top?"),
        ("trials x --wrong", "--wrong: there is no such option; the command's --help lists them"),
        ("trials x --top", "--top: must have a value"),
        ("trials x --csv=3", "--csv: must have no value"),
        ("trials x --csv --json", "--csv and --json: choose one of them"),
        ("run digits --timeout soon", "--timeout: must be a number, got 'soon': give seconds, or as in 15m or 1h30m"),
        ("nothing", "nothing: there is no such command; mlp-search --help lists them"),
        ("--json studies", "--json: must come after the command, as in mlp-search studies --json"),
        ("enqueue x width", "'width': must be NAME=VALUE, such as width=512"),
        ("enqueue x width=3 depth=2 width=4", "width: must be given once, got 2 values"),
        ("show digits", "NUMBER: must be given"),
    ],
)
def test_errors_speak_of_options(typed: str, line: str) -> None:
    answer = call(*typed.split())
    assert (answer.code, answer.out, answer.err) == (2, "", f"error: {line}\n")


@pytest.mark.parametrize("option", ["--top", "--trials", "--workers", "--port", "--alpha", "--epochs", "--like"])
def test_no_library_words_reach_the_user(option: str) -> None:
    command = {"--top": "trials x", "--trials": "run digits", "--workers": "run digits", "--port": "ui",
               "--alpha": "promote x", "--epochs": "train digits", "--like": "enqueue x"}[option]  # fmt: skip
    answer = call(*command.split(), option, "many")
    assert answer.code == 2
    assert answer.err.startswith(f"error: {option}: must be a ")
    assert answer.err.endswith(", got 'many'\n")


@pytest.mark.parametrize(
    ("typed", "timeout_s"), [("90", 90), ("1.5", 1.5), ("90s", 90), ("15m", 900), ("10min", 600), ("1h30m", 5400)]
)
def test_a_timeout_may_be_in_minutes_and_hours(typed: str, timeout_s: float) -> None:
    assert duration_s(typed) == timeout_s
