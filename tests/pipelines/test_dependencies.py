"""Every package that is imported is declared: what another package brings along can go with its next version."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
OWN = {"pipelines", "search"}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).partition(".")[0]


def test_imports_are_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    declared = {re.split(r"[^\w.-]", name)[0].lower() for name in (*project["dependencies"], *extras)}
    found = {name for package in OWN for path in (ROOT / package).rglob("*.py") for name in imported(path)}
    distributions = packages_distributions()
    missing = {
        name
        for name in found - sys.stdlib_module_names - OWN
        if name in distributions and not declared & {known.lower() for known in distributions[name]}
    }
    assert not missing
