"""MLflow's server with basic authentication on every route: MLflow's own leaves static files and other routes open.

``mlflow server --app-name mlp-search`` finds it by the entry point ``mlflow.app``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

OPEN = "/health"
"""The one path that answers without a login, for health checks."""


class LoginRequired:
    """Answers 401 to a request without a valid login, before MLflow handles it.

    Args:
        app: MLflow's server, which decides what a user may do.
        is_valid: Whether the login in an ``Authorization`` header is right; it may block.
    """

    def __init__(self, app: ASGIApp, is_valid: Callable[[str], bool]) -> None:
        self._app = app
        self._is_valid = is_valid

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on to MLflow, or refuses it."""
        from starlette.responses import PlainTextResponse
        from starlette.websockets import WebSocketClose

        if scope["type"] == "lifespan" or scope.get("path") == OPEN or await self._is_logged_in(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        else:
            challenge = {"WWW-Authenticate": 'Basic realm="mlflow"'}
            await PlainTextResponse("Log in first.", 401, challenge)(scope, receive, send)

    async def _is_logged_in(self, scope: Scope) -> bool:
        from anyio.to_thread import run_sync  # hashing a password takes a tenth of a second
        from starlette.datastructures import Headers

        header = Headers(scope=scope).get("authorization", "")
        return header.lower().startswith("basic ") and await run_sync(self._is_valid, header)


def create_app() -> LoginRequired:
    """Creates the server, and sets the admin's password to the environment's.

    Raises:
        MlflowException: The environment has no password for the admin, or no key for the session cookies.
    """
    from mlflow.server import app as flask_app, auth
    from werkzeug.datastructures import Authorization

    app = auth.create_app()
    name, password = auth.auth_config.admin_username, auth.auth_config.admin_password
    if not auth.store.authenticate_user(name, password):
        auth.store.update_user(name, password=password)

    def is_valid(header: str) -> bool:
        # MLflow's own check reads Flask's current request. It caches logins: a page makes 50 requests.
        with flask_app.test_request_context(headers={"Authorization": header}):
            return isinstance(auth.authenticate_request(), Authorization)

    return LoginRequired(app, is_valid)
