"""Counts the code lines of ``search`` and ``pipelines`` and checks the limits on size: exit code 1 where one is passed.

A code line is one that is not blank, not a comment and not part of a docstring.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("search", "pipelines")
MAX_FUNCTION_LINES = 30
MAX_CLASS_LINES = 150
MAX_CONSTRUCTOR_PARAMETERS = 6
MAX_FILES_IN_FOLDER = 10
MAX_ANY_PER_1000_LINES = 10

NOT_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def code_lines(source: str, tree: ast.Module) -> set[int]:
    """The numbers of the lines that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NOT_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def oversized(path: Path, tree: ast.Module, lines: set[int]) -> Iterator[str]:
    """One message for each function, class and constructor that passes its limit."""
    for node in ast.walk(tree):
        if not isinstance(node, Function | ast.ClassDef):
            continue
        kind, limit = ("class", MAX_CLASS_LINES) if isinstance(node, ast.ClassDef) else ("function", MAX_FUNCTION_LINES)
        n_lines = len(lines.intersection(range(node.lineno, (node.end_lineno or node.lineno) + 1)))
        if n_lines > limit:
            yield f"{path}:{node.lineno}: {kind} {node.name} has {n_lines} code lines; at most {limit} are allowed"
        if isinstance(node, Function) and node.name == "__init__":
            n_parameters = len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs) - 1
            if n_parameters > MAX_CONSTRUCTOR_PARAMETERS:
                yield (
                    f"{path}:{node.lineno}: constructor has {n_parameters} parameters;"
                    f" at most {MAX_CONSTRUCTOR_PARAMETERS} are allowed"
                )


def main(root: Path) -> int:
    """Prints each passed limit and the totals."""
    problems: list[str] = []
    n_lines: Counter[str] = Counter()
    n_files: Counter[Path] = Counter()
    n_any = 0
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            source = path.read_text()
            tree = ast.parse(source)
            lines = code_lines(source, tree)
            problems += oversized(path.relative_to(root), tree, lines)
            n_lines[package] += len(lines)
            n_any += sum(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(tree))
        files = (path for path in (root / package).rglob("*") if path.is_file() and path.suffix != ".pyc")
        n_files.update(path.parent.relative_to(root) for path in files)
    problems += [
        f"{folder}: has {count} files; at most {MAX_FILES_IN_FOLDER} are allowed"
        for folder, count in n_files.items()
        if count > MAX_FILES_IN_FOLDER
    ]
    rate = 1000 * n_any / n_lines.total()
    if rate > MAX_ANY_PER_1000_LINES:
        problems.append(f"Any: is used {rate:.1f} times in 1,000 lines; at most {MAX_ANY_PER_1000_LINES} are allowed")
    for problem in problems:
        print(problem)
    counts = ", ".join(f"{package} {count}" for package, count in n_lines.items())
    print(f"code lines: {n_lines.total()} ({counts}); Any: {rate:.1f} in 1,000 lines; {len(problems)} limits passed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).parents[1]))
