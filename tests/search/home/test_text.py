"""Passwords in addresses, in every text that may quote one; and errors on narrow terminals."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from search.home.text import one_line, redact, report_problems


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:pw@host/db", "postgresql://me:***@host/db"),
        ("https://me:p%40w@host", "https://me:***@host"),
        ("postgresql://me:p/w@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:p@#w@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:@host/db", "postgresql://me:***@host/db"),
        ("https://t0ken@host/path", "https://***@host/path"),
        ("postgresql://host/db?user=me&password=pw&sslmode=off", "postgresql://host/db?user=me&password=***&sslmode=off"),
        ("to http://me:pw@host:80/api and http://me:pw@host", "to http://me:***@host:80/api and http://me:***@host"),
        ("sqlite:////home/me/x.db", "sqlite:////home/me/x.db"),
        ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)  # fmt: skip
def test_an_address_is_shown_without_its_password(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


def test_an_errors_text_is_one_short_line_without_a_password() -> None:
    error = ValueError("no\nanswer from http://me:pw@host " + "x" * 1000)
    assert one_line(error).startswith("no answer from http://me:***@host xxx")
    assert len(one_line(error)) == 300
    assert one_line(ValueError()) == "ValueError"


@pytest.mark.parametrize("bug", ["raise OSError(ADDRESS)", "threading.Thread(target=fail, daemon=True).start()"])
def test_a_bug_keeps_its_traceback_and_the_password_is_not_in_it(bug: str) -> None:
    program = f"""
import threading, time
from search.cli.app import main
ADDRESS = "http://me:" + "s3" + "cret" + "@host/"
def fail():
    raise OSError(ADDRESS) from ValueError(ADDRESS)
main(["init", "/proc/none"])
{bug}
time.sleep(0.5)
"""
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert "Traceback" in done.stderr
    assert "OSError: http://me:***@host/" in done.stderr
    assert "s3cret" not in done.stderr


def test_errors_break_between_words_on_a_narrow_terminal_and_not_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    message = "trial-0007 complete val_accuracy 0.9312 at epoch 3, which is no-better than trial-0003"
    for is_terminal, width, n_lines in ((True, "40", 3), (False, "", 1), (False, "40", 3)):
        paper = io.StringIO()
        monkeypatch.setattr(paper, "isatty", lambda answer=is_terminal: answer, raising=False)
        monkeypatch.setattr(sys, "stderr", paper)
        monkeypatch.setenv("COLUMNS", width)
        report_problems([message])
        shown = paper.getvalue().splitlines()
        assert len(shown) == n_lines
        assert " ".join(shown).split() == ["error:", *message.split()]


def test_an_error_of_a_database_is_shown_without_its_statement() -> None:
    error = RuntimeError("(sqlite3.OperationalError) database is locked\n[SQL: INSERT INTO metrics VALUES (?)]")
    assert one_line(error) == "(sqlite3.OperationalError) database is locked"
