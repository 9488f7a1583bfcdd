"""The wheel, in an environment of its own, has everything that the program needs of this repository."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from documents import ROOT
from waiting import PATIENCE_S

from search.spec.defaults import STUDY_TEMPLATE


def run(command: list[str], cwd: Path) -> str:
    environ = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MLP_SEARCH_HOME")}
    done = subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def test_an_installed_wheel_has_its_version_its_help_its_templates_and_its_data(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("search", "pipelines"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source / name)
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "."], source)
    [wheel] = source.glob("*.whl")

    # The dependencies are those of the test environment: a .pth file adds its packages, behind the wheel's.
    venv.create(tmp_path / "env", with_pip=False)
    python = str(tmp_path / "env" / "bin" / "python")
    packages = next((tmp_path / "env").glob("lib/python*/site-packages"))
    run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", str(wheel)], tmp_path)
    (packages / "test-environment.pth").write_text(sysconfig.get_path("purelib"))

    program = str(tmp_path / "env" / "bin" / "mlp-search")
    assert json.loads(run([program, "--version", "--json"], tmp_path))["version"] == "0.1.0"
    assert "mlp-search run digits" in run([program, "--help"], tmp_path)
    run([program, "init", "study.toml"], tmp_path)
    assert (tmp_path / "study.toml").read_text() == STUDY_TEMPLATE
    for package in ("search", "pipelines"):
        assert files_of(packages / package) == files_of(ROOT / package)
    place = run([python, "-c", "import search; print(search.__file__)"], tmp_path)
    assert Path(place.strip()).is_relative_to(packages)


def files_of(package: Path) -> set[str]:
    """Every file of a package, code and data."""
    found = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(package)) for path in found}
