"""The README is true: each of its commands runs, in order, in one home, and every command is in the reference."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from command_line import call, spawn
from waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip() for kind, block in BLOCKS if not kind for line in block.splitlines() if line.strip()
]


def test_it_shows_the_two_commands_and_a_tour():
    assert COMMANDS[:2] == ["make run", "make test"]
    assert "mlp-search ui" in COMMANDS, "tests/search/cli/test_endings.py starts it and ends it with Ctrl-C"
    assert len([command for command in COMMANDS if command.startswith("mlp-search")]) >= 8


def test_its_commands_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The first in a process of its own, as a user starts it; the others save the seconds of their imports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLP_SEARCH_HOME", str(tmp_path / "home"))
    first, *others = [c for c in COMMANDS if c.startswith("mlp-search") and c != "mlp-search ui"]
    answer_of = {first: spawn(*shlex.split(first)[1:], cwd=tmp_path)}
    for command in others:
        answer_of[command] = call(*shlex.split(command)[1:])
    for command, answer in answer_of.items():
        assert answer.code == 0, f"{command}: {answer.err}"
        assert answer.out.strip(), command
        assert "Traceback" not in answer.err, command


def test_the_python_runs(tmp_path: Path):
    code = next(block for kind, block in BLOCKS if kind == "python")
    environment = {**os.environ, "MLP_SEARCH_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"0\.9\d* \{'width'", done.stdout)


def test_every_command_is_in_the_reference():
    from search.cli.app import app

    group = typer.main.get_command(app)
    reference = (ROOT / "docs" / "reference.md").read_text()
    for name in group.commands:
        assert f"`{name}" in reference, f"{name} is not in docs/reference.md"
