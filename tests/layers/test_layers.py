"""The order of the files: each imports only from those above it, and no file is left out of the order."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def lint(config: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    command = [program, "--config", config, "--no-cache"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_contract_is_kept() -> None:
    answer = lint(ROOT / "pyproject.toml")
    assert answer.returncode == 0, answer.stdout
    assert f"{len(CONTRACTS)} kept, 0 broken" in answer.stdout


@pytest.mark.parametrize("name", [contract["name"] for contract in CONTRACTS if contract["type"] == "layers"])
def test_a_file_that_imports_from_below_would_be_found(tmp_path: Path, name: str) -> None:
    """The same order upside down is broken by the imports that there are."""
    [layers] = [contract["layers"] for contract in CONTRACTS if contract["name"] == name]
    listed = "\n".join(f"    {layer}" for layer in reversed(layers))
    config = tmp_path / "upside_down.ini"
    config.write_text(
        "[importlinter]\nroot_packages =\n    search\n    pipelines\n\n"
        f"[importlinter:contract:1]\nname = upside down\ntype = layers\nlayers =\n{listed}\n"
    )
    answer = lint(config)
    assert answer.returncode == 1
    assert "upside down BROKEN" in answer.stdout


def test_pipelines_has_no_file_outside_the_order() -> None:
    files = {f"pipelines.{path.stem}" for path in (ROOT / "pipelines").glob("*.py")} - {"pipelines.__init__"}
    [layers] = [c["layers"] for c in CONTRACTS if c["type"] == "layers" and "pipelines.config" in c["layers"]]
    assert files == set(layers)
