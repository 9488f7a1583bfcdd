"""Finds Chromium for tests of pages: the system's, else Playwright's download, else the distribution's package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

from playwright.sync_api import Browser, Error, Playwright

SYSTEM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
DOWNLOAD_S = 600


def launch_chromium(playwright: Playwright) -> Browser | None:
    """Starts the first Chromium that can be found or installed; None where there is none."""
    for executable in _executables():
        with suppress(Error):  # missing, or without a library that it needs
            return playwright.chromium.launch(executable_path=executable, chromium_sandbox=False)  # root has none
    return None


def _executables() -> Iterator[str | None]:
    """Paths to try, the cheapest first; None stands for Playwright's own."""
    yield from filter(None, map(shutil.which, SYSTEM_NAMES))
    yield None
    if _succeeds(sys.executable, "-m", "playwright", "install", "chromium"):
        yield None
    # Only root may install a package, and only Debian and its like have this command and this package.
    if os.geteuid() == 0 and shutil.which("apt-get"):
        _succeeds("apt-get", "update", "-q")
        _succeeds("apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium")
        yield from filter(None, [shutil.which("chromium")])


def _succeeds(*command: str) -> bool:
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, env=environ, capture_output=True, timeout=DOWNLOAD_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
