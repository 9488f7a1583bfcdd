"""``report``: a study as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from search.cli.options import Home, Json, Study, option
from search.reporting import display

Output = Annotated[Path | None, option("FILE.html", "The file to write.", "STUDY.html")]


def report(study: Study, output: Output = None, home: Home = None, as_json: Json = False) -> None:
    """Write one self-contained page of a study: its search, results, pruning and tests; it opens without a network.

    Example: mlp-search report digits --output digits.html
    """
    from search.reporting.report import write_report

    path = write_report(study, output, home=home)
    display.show([f"{path}: open it in a browser"], {"path": str(path)}, as_json=as_json)
