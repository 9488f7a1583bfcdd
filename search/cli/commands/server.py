"""``ui``: MLflow's own page on this home."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from search.cli.options import Home, Json


def ui(
    port: Annotated[int, typer.Option(metavar="N", min=1, max=65535, help="The port to listen on.")] = 5000,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address to listen on; only this machine can reach the default.")
    ] = "127.0.0.1",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Open MLflow's page on this home, until Ctrl-C."""
    from search.operations.ui import serving
    from search.reporting import display

    with suppress(KeyboardInterrupt), serving(home, host, port) as server:
        studies = server.studies()
        lines = [f"MLflow is at {server.url}; Ctrl-C ends it", *(f"{name}: {link}" for name, link in studies.items())]
        display.show(lines, {"url": server.url, "studies": studies}, as_json=as_json)
        server.wait()
