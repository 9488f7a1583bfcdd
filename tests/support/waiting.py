"""Waits for events, with a ceiling that only a hang reaches: a loaded machine may take its time."""

from __future__ import annotations

import time
from collections.abc import Callable

import requests

PATIENCE_S = 600.0


def wait_for(condition: Callable[[], object], what: object = "the condition", timeout_s: float = PATIENCE_S) -> None:
    """Waits until a condition holds; ``what`` names it, or is called for a message, where it never does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:.0f} s for {what() if callable(what) else what}")
        time.sleep(0.05)


def answers(url: str) -> bool:
    """Whether a server answers a GET with success."""
    try:
        return bool(requests.get(url, timeout=5).ok)
    except requests.RequestException:
        return False
