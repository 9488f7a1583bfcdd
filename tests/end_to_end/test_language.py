"""What people read is in American English and in the field's words: pages, docstrings, comments, help and reports."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from documents import ROOT

BRITISH = re.compile(
    r"\b(?:un|re|dis|mis|de)?(?:"
    r"(?:behavi|col|fav|neighb|hon|lab|flav)our\w*|(?:cent|met|fib|theat)re[sd]?|grey\w*|"
    r"(?:label|model|travel|cancel|signal|total|channel|tunnel)l(?:ed|ing)|"
    r"(?:optimi|normali|initiali|standardi|recogni|organi|maximi|minimi|summari|seriali|utili|reali|generali|regulari|"
    r"visuali|quanti|speciali|randomi|categori|prioriti|synchroni|parallel?i|finali|emphasi|vectori|tokeni|customi)s"
    r"(?:e|ed|es|er|ers|ing|ation|ations)|"
    r"(?:analys|catalys|paralys)(?:e|ed|ing)|judgement\w*|artefact\w*|catalogue\w*|licence\w*|whilst|learnt|"
    r"defence|offence|ageing|acknowledgement|enrol|fulfil|skilful|programme)\b",
    re.IGNORECASE,
)
PHRASES = re.compile(r"\b(?:go(?:es)? on with|MLflow remembers|nobody selected with|tell late|without a word)\b")
PROSE = ("*.md", "*.j2", "*.toml", "*.yml", "Makefile")
FOLDERS = ("search", "pipelines", "docs", "examples", "benchmarks", "scripts", "docker", "fuzz")


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The comments, docstrings and messages of a program, or the whole of another file, with the line of each."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield 1, re.sub(r"```python.*?```|`[^`\n]*`|https?:\S+", "", source, flags=re.DOTALL)
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.count(" ") > 1:
            yield node.lineno, re.sub(r"``.*?``", "", node.value)


def pages() -> list[Path]:
    own = [path for pattern in PROSE for path in ROOT.glob(pattern)]
    return own + [path for folder in FOLDERS for pattern in (*PROSE, "*.py") for path in (ROOT / folder).rglob(pattern)]


@pytest.mark.parametrize("words", [BRITISH, PHRASES], ids=["spelling", "phrases"])
def test_the_language_of_everything_that_people_read(words: re.Pattern[str]) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line + text[: match.start()].count(chr(10))}: {match[0]}"
        for path in pages()
        for line, text in texts(path)
        for match in words.finditer(text)
    ]
    assert not found, "\n".join(found)
