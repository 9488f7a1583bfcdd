"""The routes of MLflow's server with logins, and which of them answer. As a program it prints the routes as JSON."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable

Route = tuple[str, str]
"""A method and a path."""


def list_routes() -> list[Route]:
    """The routes that MLflow registers, in a process that has a server's settings."""
    from fastapi.routing import iter_route_contexts
    from mlflow.server import app as flask_app
    from mlflow.server.auth import create_app

    contexts = list(iter_route_contexts(create_app().routes))
    found = {(method, context.path) for context in contexts for method in context.methods or ()}
    found |= {(method, rule.rule) for rule in flask_app.url_map.iter_rules() for method in rule.methods}
    return sorted((method, re.sub(r"<[^>]*>|\{[^}]*\}", "1", path)) for method, path in found)


OUTSIDE = [
    ("GET", path)
    for path in (
        "/", "/no-such-page", "/version", "/metrics", "/graphql", "/docs", "/openapi.json", "/static-files/index.html",
        "/static/x", "/favicon.ico", "/healthz", "/health/", "/health/../static-files/index.html", "//health",
        "/static-files/../health", "/%68ealth/x", "/HEALTH", "/ajax-api/3.0/mlflow/server-info",
    )
]  # fmt: skip
"""Paths beside the registered ones, some of them tricks."""


def let_in(address: str, routes: Iterable[Route], credentials: tuple[str, str] | None) -> list[tuple[str, str, int]]:
    """The routes that answer anything but 401, with their status."""
    import requests

    answers = []
    with requests.Session() as session:
        session.trust_env = False
        for method, path in routes:
            request = requests.Request(method, address, auth=credentials).prepare()
            request.url = address + path  # unchanged: requests would normalize it
            status = session.send(request, timeout=30, allow_redirects=False).status_code
            if status != 401:
                answers.append((method, path, status))
    return answers


if __name__ == "__main__":
    sys.stdout.write(json.dumps(list_routes()))
