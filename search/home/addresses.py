"""What an address in the settings names: a SQLite file, a PostgreSQL server, an HTTP server."""

from __future__ import annotations

from pathlib import Path


def is_sqlite(address: str) -> bool:
    """Whether an address names a SQLite database."""
    return address.startswith("sqlite:")


def is_postgresql(address: str) -> bool:
    """Whether an address names a PostgreSQL database, whatever its driver."""
    return address.startswith("postgresql")


def is_http(address: str) -> bool:
    """Whether an address names a server that speaks HTTP."""
    return address.startswith(("http://", "https://"))


def sqlite_file(address: str) -> Path | None:
    """The file of a SQLite address; None for a database in memory or on a server."""
    name = address.removeprefix("sqlite:///")
    return None if name in (address, "", ":memory:") else Path(name)
