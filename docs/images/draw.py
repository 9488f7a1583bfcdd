"""Draws the README's pictures from a real study: ``python docs/images/draw.py [--seconds S]``.

Searches MNIST in a temporary home, keeps the live table as it stands when two thirds of the time are over, then opens
MLflow's own page on that home in Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

import requests
from playwright.sync_api import sync_playwright
from rich.console import Console

import search
from search.live import draw
from search.progress import Progress

FOLDER = Path(__file__).parent
NOTES = 8


class Photographer:
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


def photograph_page(home: Path, study: str) -> None:
    """Opens the study's experiment in Chromium and keeps its charts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "search", "ui", "--home", str(home), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/health")
        experiment = requests.get(
            f"{address}/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": study}, timeout=30
        ).json()["experiment"]["experiment_id"]
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            page = chromium.new_page(viewport={"width": 1500, "height": 950})
            page.goto(f"{address}/#/experiments/{experiment}/runs?compareRunsMode=CHART")
            page.get_by_text("val_accuracy").first.wait_for(timeout=60_000)
            page.locator(".js-plotly-plot").nth(3).wait_for(timeout=60_000)
            page.wait_for_timeout(3_000)  # the charts draw their lines one after the other
            page.screenshot(path=str(FOLDER / "mlflow.png"))
            chromium.close()
    finally:
        server.terminate()
        server.wait(20)


def _wait_for(address: str, timeout_s: float = 90.0) -> None:
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        try:
            if requests.get(address, timeout=2).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.3)
    raise SystemExit(f"{address} does not answer")


def main() -> None:
    """Searches, then draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        spec = search.default_spec("mnist", timeout_s=seconds)
        search.run_study(spec, home=Path(folder), observer=Photographer(seconds))
        photograph_page(Path(folder), spec.name)


if __name__ == "__main__":
    main()
