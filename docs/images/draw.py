"""Draws the documents' pictures of a study, its pages in MLflow: ``python docs/images/draw.py HOME STUDY``.

The home's study is searched, evaluated and promoted as in the tour of the README.
"""

from __future__ import annotations

import argparse
import io
import shutil
import socket
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from search.operations.ui import serving
from search.tracking.experiment_view import version_link

FOLDER = Path(__file__).parent
SIZE = {"width": 1440, "height": 900}


def main() -> None:
    """Opens the study's trials, its charts and the first version of its model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("study")
    options = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with serving(options.home, "127.0.0.1", port) as server, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), chromium_sandbox=False)
        page = chromium.new_page(viewport=SIZE)
        trials = server.studies()[options.study]
        photograph(page, trials, '[col-id="tags.`trial.state`"]', "trials.png")
        photograph(page, trials + "&compareRunsMode=CHART", ".js-plotly-plot >> nth=1", "charts.png")
        photograph(page, version_link(server.url, options.study, "1"), 'img[src*="confusion_matrix"]', "version.png")
        chromium.close()


def photograph(page: Page, address: str, wanted: str, name: str) -> None:
    """Keeps a page, once it shows an element, as a small picture: 128 colors are enough for it."""
    page.goto(address)
    page.locator(wanted).first.wait_for(timeout=120_000)
    page.wait_for_timeout(5_000)  # rows and charts are drawn one after the other
    whole = Image.open(io.BytesIO(page.screenshot()))
    whole.quantize(128, dither=Image.Dither.NONE).save(FOLDER / name, optimize=True)


if __name__ == "__main__":
    main()
