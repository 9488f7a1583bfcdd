"""Optuna's internals are used in one folder, and there as little as possible."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
INTERNAL = re.compile(r"\._(storage|trial_id|study_id|cached_frozen_trial|get_trials|backend)\b|storages\._")
MOST = 25
KEY = re.compile(r"""["'](fixed_params|grid_id|completed_rung_|cma:)|system_attrs(\.get\(|\[)["']""")
"""A key of a system attribute of Optuna's; ``attributes`` has names for them."""
TABLE = re.compile(r"\b(FROM|JOIN|INTO|UPDATE) (studies|trials|study_\w+|trial_\w+)\b")
COMPLETION = Path("search/cli/options.py")
"""The shell completes names of studies with SQL: it cannot wait for Optuna's import, which the folder does."""


def sources() -> Iterator[tuple[Path, str]]:
    for folder in ("search", "pipelines"):
        for path in (ROOT / folder).rglob("*.py"):
            yield path.relative_to(ROOT), path.read_text()


def is_storage(path: Path) -> bool:
    return path.parts[:2] == ("search", "storage")


def private_of_a_base(tree: ast.Module) -> Iterator[str]:
    """Private names that a class takes or overrides from a class of Optuna's that it is derived from."""
    imported = {
        name.asname or name.name: getattr(importlib.import_module(node.module), name.name, None)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "optuna"
        for name in node.names
    }
    for made in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        bases = [imported[base.id] for base in made.bases if isinstance(base, ast.Name) and base.id in imported]
        functions = {node.name for node in made.body if isinstance(node, ast.FunctionDef)}
        own = [
            node
            for node in ast.walk(made)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "super()")
        ]
        stored = {node.attr for node in own if isinstance(node.ctx, ast.Store)}
        taken = {node.attr for node in own} - functions - stored
        overridden = {name for name in functions | stored if any(hasattr(base, name) for base in bases)}
        if bases:
            yield from (name for name in taken | overridden if re.match("_[^_]", name))


def test_internals_of_optuna_are_used_in_the_storage_folder_alone() -> None:
    lines = [(path, line) for path, text in sources() for line in text.splitlines() if INTERNAL.search(line)]
    assert [line for line in lines if not is_storage(line[0])] == []
    assert len(lines) <= MOST


def test_keys_and_tables_of_optuna_are_named_in_the_storage_folder_alone() -> None:
    found = {path for path, text in sources() if KEY.search(text) or TABLE.search(text)}
    assert {path for path in found if not is_storage(path)} == {COMPLETION}


def test_private_methods_of_optunas_classes_are_used_in_the_storage_folder_alone() -> None:
    found = {path: set(private_of_a_base(ast.parse(text))) for path, text in sources() if "optuna" in text}
    assert {path: names for path, names in found.items() if names and not is_storage(path)} == {}
    assert found[Path("search/storage/brackets.py")] == {"_try_initialization", "_get_bracket_id"}
