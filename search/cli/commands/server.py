"""``ui``: MLflow's own page on this home."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from search.cli.options import Home, Json, option
from search.reporting import display

Port = Annotated[int, option("N", "The port to listen on.", low=1, high=65535)]
Host = Annotated[str, option("ADDRESS", "The address to listen on; the default is reachable from this machine only.")]


def ui(port: Port = 5000, host: Host = "127.0.0.1", home: Home = None, as_json: Json = False) -> None:
    """Serve MLflow's page on this home until Ctrl-C.

    Example: mlp-search ui --port 8080
    """
    from search.operations.ui import serving

    with suppress(KeyboardInterrupt), serving(home, host, port) as server:
        studies = server.studies()
        lines = [f"MLflow is at {server.url}; Ctrl-C ends it", *(f"{name}: {link}" for name, link in studies.items())]
        display.show(lines, {"url": server.url, "studies": studies}, as_json=as_json)
        server.wait()
