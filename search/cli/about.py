"""Versions of this program and of the libraries that decide what it computes."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from search.reporting import display

_LIBRARIES = ("tensorflow", "tensorflow-cpu", "keras", "optuna", "mlflow", "numpy")


def show_versions() -> None:
    """Prints the versions; none of the libraries is imported."""
    document = {"version": _version("mlp-search") or "unknown", "python": platform.python_version()}
    found = {name: _version(name) for name in _LIBRARIES}
    document |= {name: number for name, number in found.items() if number}
    libraries = ", ".join(f"{name} {number}" for name, number in document.items() if name != "version")
    display.show([f"mlp-search {document['version']} ({libraries})"], document)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
