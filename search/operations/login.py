"""MLflow's basic-auth server with a login on every route: MLflow's own leaves its pages' files and others open.

``mlflow server --app-name mlp-search`` finds it by the entry point ``mlflow.app``.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

OPEN = "/health"
"""The one path that answers anybody: what a health check asks."""


class LoginRequired:
    """Answers 401 to whoever does not log in, before MLflow sees the request.

    Args:
        app: MLflow's server, which decides what a user may do.
        is_user: Whether a name and a password belong together; may take time.
    """

    def __init__(self, app: ASGIApp, is_user: Callable[[str, str], bool]) -> None:
        self._app, self._is_user = app, is_user

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
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
        from anyio.to_thread import run_sync  # passwords are slow to check, by design
        from starlette.datastructures import Headers

        scheme, _, credentials = Headers(scope=scope).get("authorization", "").partition(" ")
        try:
            name, colon, password = b64decode(credentials, validate=True).decode().partition(":")
        except ValueError:
            return False
        return scheme.lower() == "basic" and bool(colon) and await run_sync(self._is_user, name, password)


def create_app() -> LoginRequired:
    """Makes the server; the first admin's password is what the environment says, at every start.

    Raises:
        MlflowException: There is no password for the admin, or no key for the session cookies.
    """
    from mlflow.server import auth

    app = auth.create_app()
    name, password = auth.auth_config.admin_username, auth.auth_config.admin_password
    if not auth.store.authenticate_user(name, password):
        auth.store.update_user(name, password=password)
    # MLflow's own check, because it remembers who logged in: a password costs a tenth of a second, a page 50 requests.
    return LoginRequired(app, lambda name, password: auth._authenticate_cached(name, password) is not None)
