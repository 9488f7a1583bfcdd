"""The blocks of the documents' Markdown, and the commands in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
RUNNABLE = ("", "bash")
"""The kinds of blocks that a newcomer's shell runs word for word; of the others, ``sh``, each line runs once with a
small budget, unless it needs a server, a container, a package or minutes."""


def blocks(path: Path) -> list[tuple[str, str]]:
    """(kind, text) of each fenced block of a page."""
    return re.findall(r"^```(\w*)\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def lines(path: Path, kinds: tuple[str, ...] = RUNNABLE) -> list[str]:
    """What a reader types of a page's blocks: a line each, or a whole block with a text that follows a command."""
    typed: list[str] = []
    for kind, text in blocks(path):
        if kind in kinds:
            typed += [text] if "<<" in text else [line for line in text.splitlines() if line.strip()]
    return typed


def our_commands(path: Path) -> list[list[str]]:
    """The words of each command of this program in a page, in its blocks and in its sentences, after its name."""
    typed = [line for text in lines(path, (*RUNNABLE, "sh")) for line in text.splitlines()]
    typed += re.findall(r"`(mlp-search [^`\n]+)`", path.read_text(encoding="utf-8"))
    found: list[list[str]] = []
    for line in typed:
        words = shlex.split(line, comments=True) if line.count("'") % 2 == 0 else []
        if "mlp-search" in words[:-1]:
            found.append(words[words.index("mlp-search") + 1 :])
    return found
