"""A newcomer types the tour of the README word for word, in three minutes, then follows the tutorial and the how-to."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from time import process_time

import pytest
from command_line import call
from documents import PAGES, ROOT, RUNNABLE, blocks, lines
from notebooks import ProcessorTime
from waiting import PATIENCE_S

README, TUTORIAL, HOW_TO = ROOT / "README.md", ROOT / "docs" / "tutorial.md", ROOT / "docs" / "how-to.md"
TOUR_S = 150.0
"""Of a processor: what else the machine does does not count. The commands that are called here would start in 20 s."""
STARTED = ("mlp-search run", "mlp-search ui")
"""Commands that run in a process of their own, as a newcomer's do: the first one that trains, and the page."""


class Newcomer:
    """Types lines into a shell whose commands are those of this environment, or calls the commands in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        own, first = folder / "bin", Path(sys.executable).parent
        own.mkdir()
        program = own / "mlp-search"  # as pip writes it, also where the environment was moved since
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m search "$@"\n')
        program.chmod(0o755)
        self._environ = os.environ | {"PATH": f"{own}:{first}:{os.environ['PATH']}", "HOME": str(folder)}
        self._environ.pop("MLP_SEARCH_HOME", None)
        self.typed: set[str] = set()

    def type(self, line: str) -> str:
        """Runs a line, which must succeed; returns what it printed."""
        self.typed.add(line)
        done = subprocess.run(
            ["bash", "-ec", line], cwd=self.folder, env=self._environ, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}: {done.stdout[-500:]}{done.stderr[-2000:]}"
        assert "Traceback" not in done.stderr, line
        return done.stdout

    def open_page(self, line: str) -> str:
        """Runs a line that serves until Ctrl-C; returns its first line, and presses Ctrl-C."""
        process = subprocess.Popen(
            ["bash", "-c", f"exec {line}"], cwd=self.folder, env=self._environ, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout
        first = process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
        assert first, err
        assert process.returncode == 0
        return first

    def call(self, typed: str) -> str:
        """Does what ``type`` does, but for the commands of this program no process starts, imports and ends."""
        printed = ""
        for line in split(typed):
            if line.startswith("mlp-search"):
                self.typed.add(line)
                answer = call(*shlex.split(line, comments=True)[1:])
                assert answer.code == 0, f"{line}: {answer.out[-500:]}{answer.err[-2000:]}"
                printed += answer.out
            else:
                printed += self.type(line)
        return printed


def split(typed: str) -> list[str]:
    """The lines of a block; a text that follows a command stays with it."""
    return re.findall(r"^.*<<'EOF'\n(?s:.*?)^EOF$|^.+$", typed, re.MULTILINE)


def test_the_readme_then_the_tutorial_and_the_how_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newcomer = Newcomer(tmp_path)
    tour = [line for line in lines(README, ("",)) if line.startswith("mlp-search")]
    assert len(tour) >= 8
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLP_SEARCH_HOME", raising=False)
    began = process_time()
    with ProcessorTime() as time:
        for line in tour:
            if line == "mlp-search ui":
                assert re.match(r"digits: http://127\.0\.0\.1:\d+/#/experiments/\d+/runs\?", newcomer.open_page(line))
            else:
                told = newcomer.type(line) if line.startswith(STARTED) else newcomer.call(line)
                assert told.strip(), line
        code = next(text for kind, text in blocks(README) if kind == "python")
        (tmp_path / "tour.py").write_text(code)
        assert re.match(r"0\.9\d* \{'width'", newcomer.type("python tour.py"))
    assert time.used + process_time() - began < TOUR_S  # the README promises three minutes

    for line in [*lines(TUTORIAL, ("bash",)), *lines(HOW_TO, ("bash",))]:
        if line not in newcomer.typed:
            newcomer.call(line)
    assert {"wine.toml", "wine.html"} <= {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "wine.html").stat().st_size > 100_000


def test_no_other_page_has_blocks_that_are_said_to_run() -> None:
    own = {path for path in PAGES if any(kind in RUNNABLE for kind, _ in blocks(path))}
    assert own == {README, TUTORIAL, HOW_TO}


def test_the_readme_shows_the_two_commands_first() -> None:
    commands = [line.split("#")[0].strip() for line in lines(README, ("",))]
    assert commands[:3] == ["pip install .", "make run", "make test"]
