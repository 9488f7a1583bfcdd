"""The kind of an address in the settings: a SQLite file, a PostgreSQL server, an HTTP server."""

from __future__ import annotations

import re
from pathlib import Path

PORT = r"(?a:[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])"
"""The pattern of a port: 1 to 65535."""
_RESERVED = re.compile(r"[%?#{}]")  # braces: Optuna fills in placeholders


def is_sqlite(address: str) -> bool:
    """Whether an address names a SQLite database."""
    return address.startswith(("sqlite:", "sqlite+"))


def is_postgresql(address: str) -> bool:
    """Whether an address names a PostgreSQL database, whatever its driver."""
    return address.startswith("postgresql")


def is_http(address: str) -> bool:
    """Whether an address names a server that speaks HTTP."""
    return address.startswith(("http://", "https://"))


def sqlite_address(file: Path) -> str:
    """The address of a SQLite file; characters of its path that mean something in an address are quoted."""
    if not _RESERVED.search(str(file)):
        return f"sqlite:///{file}"
    from sqlalchemy import URL

    # With its driver: MLflow makes the folder of the file of an address without one, and does not unquote its name.
    return URL.create("sqlite+pysqlite", database=str(file)).render_as_string()


def sqlite_file(address: str) -> Path | None:
    """The file of a SQLite address; None for a database in memory or on a server."""
    if not is_sqlite(address):
        return None
    name = address.removeprefix("sqlite:///")
    if name == address or _RESERVED.search(name):
        from sqlalchemy import make_url

        name = make_url(address).database or ""
    return None if name in ("", ":memory:") or name.startswith("file:") else Path(name)
