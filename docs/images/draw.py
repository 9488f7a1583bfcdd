"""Draws the README's pictures from a real study: ``python docs/images/draw.py [--seconds S]``.

Searches MNIST in a temporary home, keeps the live table as it stands when two thirds of the time are over, then opens
MLflow's own page on that home in Chromium. With ``--home HOME`` it searches nothing and opens the page on that home.
"""

from __future__ import annotations

import argparse
import io
import shutil
import socket
import tempfile
import time
from collections import deque
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright
from rich.console import Console

import search
from search.cli.live import draw
from search.operations.ui import serving
from search.registry.models import models
from search.scheduling.progress import Observer, Progress
from search.tracking.experiment_view import version_link

FOLDER = Path(__file__).parent
NOTES = 8


class Photographer(Observer):
    """Keeps the live table, with the notes above it, as a terminal shows them at one moment."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at, self._notes = time.monotonic() + seconds * 2 / 3, deque[str](maxlen=NOTES)

    def update(self, progress: Progress) -> None:
        """Draws the picture once its moment has come and every slot is at work."""
        busy = all(slot.report for slot in progress.slots.values())
        if not self._at or time.monotonic() < self._at or not busy or not progress.slots:
            return
        self._at = 0.0
        with Path("/dev/null").open("w") as nowhere:
            console = Console(record=True, width=112, file=nowhere, force_terminal=True)
            console.print(f"$ mlp-search run mnist --timeout {self._seconds:g}", style="bold")
            console.print("\n".join(self._notes), style="dim")
            console.print(draw(progress, progress.time_left_s))
            console.save_svg(str(FOLDER / "run.svg"), title="mlp-search")

    def note(self, line: str) -> None:
        """Remembers a line."""
        self._notes.append(line)


def photograph_pages(home: Path, study: str) -> None:
    """Opens the study in MLflow's own page in Chromium and keeps its trials, its charts and its champion's card."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with serving(home, "127.0.0.1", port) as server, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        trials = server.studies()[study]
        page.goto(trials)
        page.get_by_role("columnheader").filter(has_text="best_val_accuracy").first.wait_for(timeout=60_000)
        _photograph(page, "trials.png")
        page.goto(trials + "&compareRunsMode=CHART")
        page.locator(".js-plotly-plot").nth(2).wait_for(timeout=60_000)
        _photograph(page, "charts.png")
        if models(home=home):
            page.goto(version_link(server.url, study, "1"))
            page.locator('img[src*="confusion_matrix"]').wait_for(timeout=60_000)
            _photograph(page, "version.png")
        chromium.close()


def _photograph(page: Page, name: str) -> None:
    """Keeps the page as a small picture: 256 colours are enough for it."""
    page.wait_for_timeout(3_000)  # rows and charts are drawn one after the other
    whole = Image.open(io.BytesIO(page.screenshot()))
    whole.quantize(256, dither=Image.Dither.NONE).save(FOLDER / name, optimize=True)


def main() -> None:
    """Draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--study", default="mnist")
    options = parser.parse_args()
    if options.home:
        photograph_pages(options.home, options.study)
    else:
        photograph_search(options.seconds)


def photograph_search(seconds: float) -> None:
    """Searches MNIST and keeps all pictures of it."""
    with tempfile.TemporaryDirectory() as folder:
        spec = search.default_spec("mnist", timeout_s=seconds)
        search.run_study(spec, home=Path(folder), observer=Photographer(seconds))
        photograph_pages(Path(folder), spec.name)


if __name__ == "__main__":
    main()
