"""Draws the documents' pictures of a study: ``python docs/images/draw.py HOME STUDY``.

The home's study is searched, evaluated and promoted as in the tour of the README. The pictures are its pages in MLflow,
its report on a desktop and a phone, and a terminal of 120 columns at the end of a short search.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.text import Text

from search.operations.ui import Server, serving
from search.reporting.charts.style import BLUE, CURVE_COLORS, GRAY, ORANGE, VERMILION
from search.reporting.report import write_report
from search.tracking.experiment_view import FINALISTS_VIEW, TRAINING

FOLDER = Path(__file__).parent
SIZE = {"width": 1440, "height": 900}
CHARTS_SIZE = {"width": 1440, "height": 1250}
"""Has room for the parallel coordinates beneath the curves."""
COLUMNS = 120
KEPT = (BLUE, ORANGE, GRAY, VERMILION, *CURVE_COLORS, "#FFFFFF", "#000000")
"""Colors of lines and rings: few pixels have them, and a palette of the most frequent ones would lose them."""
MAX_BYTES = 250_000
REPORT = (("Optimization history", 700), ("Slices", 700), ("Optimization history", 390))
"""The parts of the report, side by side: a heading, and the width of the screen."""
REPORT_HEIGHT = 1150


def main() -> None:
    """Draws every picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("study")
    options = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with serving(options.home, "127.0.0.1", port) as server, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), chromium_sandbox=False)
        draw_mlflow(chromium.new_page(viewport=SIZE), server, options.study)
        draw_report(chromium, options.home, options.study)
        draw_terminal(chromium)
        chromium.close()


def draw_mlflow(page: Page, server: Server, study: str) -> None:
    """The study's trials, their charts, its finalists, and the first version of its model."""
    trials = server.studies()[study]
    finalists = trials.replace("viewStateShareKey=trials", f"viewStateShareKey={FINALISTS_VIEW}")
    for address, wanted, name in (
        (trials, '[col-id="tags.`trial.state`"]', "trials.png"),
        (trials + "&compareRunsMode=CHART", "canvas.foreground", "charts.png"),
        (finalists, '[col-id="tags.`role`"]', "finalists.png"),
        (f"{server.url}/#/models/{study}/versions/1?{TRAINING}", 'img[src*="confusion_matrix"]', "version.png"),
    ):
        page.set_viewport_size(CHARTS_SIZE if name == "charts.png" else SIZE)
        page.goto("about:blank")
        page.goto(address)
        page.locator(wanted).first.wait_for(timeout=120_000)
        page.wait_for_timeout(5_000)  # rows and charts are drawn one after the other
        keep(picture(page.screenshot()), name)


def draw_report(chromium: Browser, home: Path, study: str) -> None:
    """Parts of the report on two screens, side by side."""
    whole = Image.new("RGB", (sum(width for _, width in REPORT), REPORT_HEIGHT), "white")
    left = 0
    with tempfile.TemporaryDirectory() as folder:
        address = write_report(study, Path(folder) / "report.html", home=home).as_uri()
        for heading, width in REPORT:
            page = chromium.new_page(viewport={"width": width, "height": REPORT_HEIGHT})
            page.goto(address)
            page.locator("h2", has_text=heading).evaluate("heading => heading.scrollIntoView()")
            page.wait_for_timeout(1_000)
            whole.paste(picture(page.screenshot()), (left, 0))
            left += width
            page.close()
    keep(whole, "report.png")


def draw_terminal(chromium: Browser) -> None:
    """The end of a search, and its finalists, as a terminal shows them."""
    shown = Text()
    with tempfile.TemporaryDirectory() as folder:
        for words in (("run", "digits", "--trials", "12"), ("finalists", "digits", "--top", "2", "--seeds", "2")):
            environ = os.environ | {"COLUMNS": str(COLUMNS), "FORCE_COLOR": "1"}
            done = subprocess.run(
                [sys.executable, "-m", "search", *words], cwd=folder, env=environ, check=True, text=True,
                capture_output=True,
            )  # fmt: skip
            shown.append(f"$ mlp-search {' '.join(words)}\n", "bold")
            shown.append(Text.from_ansi(done.stdout.rstrip())).append("\n\n")
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    shown.rstrip()
    console.print(shown)
    page = chromium.new_page(viewport=SIZE)
    page.set_content(console.export_svg(title="mlp-search"))
    keep(picture(page.locator("svg").screenshot()), "terminal.png")


def picture(content: bytes) -> Image.Image:
    """A screenshot as a picture."""
    return Image.open(io.BytesIO(content)).convert("RGB")


def keep(whole: Image.Image, name: str) -> None:
    """Writes a picture with 256 colors, the lines' own among them.

    Raises:
        SystemExit: It is too large for the repository.
    """
    frequent = np.frombuffer(bytes(whole.quantize(256 - len(KEPT)).getpalette() or ()), np.uint8)
    fixed = [int(color[at : at + 2], 16) for color in KEPT for at in (1, 3, 5)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*frequent[: 3 * (256 - len(KEPT))].tolist(), *fixed])
    path = FOLDER / name
    whole.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)
    if path.stat().st_size > MAX_BYTES:
        raise SystemExit(f"{path}: must be below {MAX_BYTES:,} bytes, got {path.stat().st_size:,}")


if __name__ == "__main__":
    main()
