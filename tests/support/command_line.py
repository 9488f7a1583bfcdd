"""Runs the command line as a user does, in this process or in another."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waiting import PATIENCE_S

from search.cli.app import main

STUDY = """\
[study]
name = "tiny"
trials = 6
[data]
source = "digits"
folds = 1
[space]
width = { low = 8, high = 64 }
depth = 1
learning_rate = { low = 1e-4, high = 0.1, log = true }
epochs = { low = 4, high = 6 }
batch_size = 64
[search]
pruner = "median"
"""
"""A study of small networks on digits, which takes seconds."""


@dataclass(frozen=True)
class Answer:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one line of JSON on stdout."""
        assert self.out.count("\n") == 1, self.out
        assert self.out.endswith("\n")
        return json.loads(self.out)


class CtrlC(io.StringIO):
    """A stderr that sends Ctrl-C to this process after ``pattern`` was written ``times`` times."""

    def __init__(self, pattern: str, times: int = 1) -> None:
        super().__init__()
        self._pattern, self._times = pattern, times

    def write(self, text: str) -> int:
        n_written = super().write(text)
        if self._times and len(re.findall(self._pattern, self.getvalue())) >= self._times:
            self._times = 0
            signal.raise_signal(signal.SIGINT)
        return n_written


def call(*arguments: str | Path, err: io.StringIO | None = None) -> Answer:
    """Runs a command in this process, without the start of Python and the imports."""
    out, err = io.StringIO(), err or io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Answer(code, out.getvalue(), err.getvalue())


def command(*arguments: str | Path) -> list[str]:
    """The arguments of a process that runs a command."""
    return [sys.executable, "-m", "search", *map(str, arguments)]


def spawn(*arguments: str | Path, cwd: Path, **environ: str) -> Answer:
    """Runs a command in a process of its own."""
    done = subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def files(folder: Path) -> set[str]:
    """The paths of everything in a folder, at any depth."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
