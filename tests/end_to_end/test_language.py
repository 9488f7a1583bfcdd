"""What people read is in American English and in the field's words: pages, docstrings, comments, help and reports."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
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
PHRASES = re.compile(
    r"\b(?:go(?:es)? on with|MLflow remembers|nobody selected with|tell late|told late|without a word|for ever|"
    r"what trials came to|has yet to take|takes what processes|that are gone have left|is nobody's|was spent before|"
    r"lets it go on|opponents?|to go on, type|type the same again|nothing found: Optuna|knows nothing but|"
    r"measure it on your own|luckiest|by luck|mend(?:s|ed|ing)?|errands?|parked|promised|in hand|where they fall|"
    r"right rows|(?:same|constant) answers?|"
    r"answer(?:s|ed|ing)? with (?:the mean|its mean|their mean|the most frequent))\b",
    re.IGNORECASE,
)
"""Words of this project's own for which its field has terms: a model predicts, a search resumes."""
QUESTION = re.compile(r"\A(?:What|That|Who|Whose|Why|How|When|Where|Which)\b")
"""A docstring names a thing by its noun, not by a clause that begins with "what"."""
PROSE = ("*.md", "*.j2", "*.toml", "*.yml", "Makefile")
FOLDERS = ("search", "pipelines", "docs", "examples", "benchmarks", "scripts", "docker", "fuzz")


@cache
def texts(path: Path) -> tuple[tuple[int, str], ...]:
    """As ``read``, once for all tests."""
    return tuple(read(path))


def read(path: Path) -> Iterator[tuple[int, str]]:
    """The comments, docstrings and messages of a program, or the whole of another file, with the line of each."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield 1, re.sub(r"```python.*?```|`[^`\n]*`|{{.*?}}|{%.*?%}|https?:\S+", "", source, flags=re.DOTALL)
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


@pytest.mark.parametrize("words", [BRITISH, PHRASES, QUESTION], ids=["spelling", "phrases", "nouns"])
def test_the_language_of_everything_that_people_read(words: re.Pattern[str]) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line + text[: match.start()].count(chr(10))}: {match[0]}"
        for path in pages()
        for line, text in texts(path)
        for match in words.finditer(text)
    ]
    assert not found, "\n".join(found)
