"""MLflow's server with a page that opens on model training: MLflow's own opens on agents, beside an assistant.

``python -m search.operations.page HOST PORT ALIVE`` serves it; the environment has the settings of ``mlflow server``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from search.tracking.experiment_view import VIEW_TAG, study_link

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CHOICES = {"mlflow.workflowType_v1": "machine_learning", "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": True}
"""Settings of MLflow's page in the browser where its user has chosen none: model training, no open assistant."""
_SCRIPT = f"""<script>
for (const [key, value] of Object.entries({json.dumps(CHOICES)}))
  if (localStorage.getItem(key) === null) localStorage.setItem(key, JSON.stringify(value));
</script>"""
_OPEN_LATEST = f"""<script>
const atHome = () => ["", "#", "#/"].includes(location.hash);
if (atHome()) fetch("ajax-api/2.0/mlflow/experiments/search", {{
  method: "POST", headers: {{"Content-Type": "application/json"}},
  body: JSON.stringify({{max_results: 100, order_by: ["last_update_time DESC"]}}),
}}).then((answer) => answer.json()).then((found) => {{
  const isOurs = (each) => (each.tags || []).some((tag) => tag.key === "{VIEW_TAG}");
  const latest = (found.experiments || []).find(isOurs);
  const address = "{study_link("", "ID").removeprefix("/")}";
  if (latest && atHome()) location.replace(address.replace("ID", latest.experiment_id));
}}).catch(() => {{}});
</script>"""
"""Opens the study that changed last where the address names no page; MLflow's logo leads to its own first page."""
_CACHING = (b"if-none-match", b"if-modified-since", b"etag", b"last-modified", b"content-length")


class TrainingPage:
    """Adds a script to MLflow's page that makes those choices, before MLflow's own script runs.

    Args:
        app: MLflow's server.
        opens_latest: Whether the plain address opens the study that changed last.
    """

    def __init__(self, app: ASGIApp, *, opens_latest: bool = False) -> None:
        self._app = app
        self._script = _SCRIPT + (_OPEN_LATEST if opens_latest else "")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on; the answer to one for the page gets the script."""
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        start: Message = {}
        body = bytearray()

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body"):
                whole = self._with_script(bytes(body)) if start["status"] == 200 else bytes(body)
                length = (b"content-length", str(len(whole)).encode())
                start["headers"] = [*_uncached(start["headers"]), length]
                await send(start)
                await send({"type": "http.response.body", "body": whole})

        # The browser may hold MLflow's page without the script: it is always sent whole.
        scope["headers"] = _uncached(scope["headers"])
        await self._app(scope, receive, collect)

    def _with_script(self, page: bytes) -> bytes:
        return page.replace(b"<head>", b"<head>" + self._script.encode(), 1)


def _uncached(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name.lower() not in _CACHING]


def main(host: str, port: str, alive: str) -> None:
    """Serves until a signal ends it, or the process that started it has ended.

    Args:
        host: The address to listen on.
        port: The port.
        alive: Number of the descriptor of a pipe whose other end that process holds.
    """
    threading.Thread(None, _end_with, "parent", (int(alive),), daemon=True).start()
    import uvicorn
    from mlflow.server import constants, handlers
    from mlflow.server.fastapi_app import app
    from mlflow.utils.server_cli_utils import resolve_default_artifact_root

    backend, registry = os.environ["MLFLOW_BACKEND_STORE_URI"], os.environ["MLFLOW_REGISTRY_STORE_URI"]
    artifacts = resolve_default_artifact_root(True, os.environ["MLFLOW_DEFAULT_ARTIFACT_ROOT"], backend)
    # The names under which ``mlflow server`` hands its options to its application, which reads them at each request.
    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: backend,
        constants.REGISTRY_STORE_URI_ENV_VAR: registry,
        constants.ARTIFACT_ROOT_ENV_VAR: artifacts,
        constants.ARTIFACTS_DESTINATION_ENV_VAR: os.environ["MLFLOW_ARTIFACTS_DESTINATION"],
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
    }
    handlers.initialize_backend_stores(backend, registry, artifacts)
    uvicorn.run(TrainingPage(app, opens_latest=True), host=host, port=int(port), log_level="warning")


def _end_with(alive: int) -> None:
    os.read(alive, 1)  # nothing is written: it returns once the other end is closed
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(*sys.argv[1:])
