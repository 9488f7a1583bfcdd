"""What a run says of the code that trained it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COMMIT = ["git", "-c", "user.name=me", "-c", "user.email=me@example.org", "commit", "-q", "-m", "first"]


@pytest.mark.parametrize("is_own", [True, False], ids=["checkout", "installed"])
def test_the_commit_is_that_of_this_package_and_not_of_the_project_it_is_installed_in(
    is_own: bool, tmp_path: Path
) -> None:
    place = tmp_path if is_own else tmp_path / ".venv" / "site-packages"
    for package in ("search", "pipelines"):
        shutil.copytree(ROOT / package, place / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".gitignore").write_text(".venv\n__pycache__\n")
    for command in (["git", "init", "-q"], ["git", "add", "."], COMMIT):
        subprocess.run(command, cwd=tmp_path, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        " from search.optimization.provenance import git_commit; print(git_commit())"
    )
    done = subprocess.run([sys.executable, "-c", script, place], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == (head.stdout.strip() if is_own else ""), done.stderr
