"""``report``: a study as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search.cli.options import Home, Json, Study


def report(
    study: Study,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Where to write it; STUDY.html if left out.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write one self-contained page: what was searched, found, pruned and tested; it opens without a network."""
    from search.reporting import display
    from search.reporting.report import write_report

    path = write_report(study, output, home=home)
    display.show([f"{path}: open it in a browser"], {"path": str(path)}, as_json=as_json)
