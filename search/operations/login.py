"""MLflow's server with basic authentication on every route: MLflow's own leaves static files and other routes open.

``mlflow server --app-name mlp-search`` finds it by the entry point ``mlflow.app``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from search.operations.page import TrainingPage

if TYPE_CHECKING:
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
    from starlette.types import ASGIApp, Receive, Scope, Send

OPEN = "/health"
"""The one path that answers without a login, for health checks."""
SEARCH_USER = "search"
"""The user as whom the containers' searches log in; it is no admin."""


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
    """Creates the server, and sets the passwords of the admin and of ``search`` to the environment's.

    Raises:
        MlflowException: The environment has no password for the admin, or no key for the session cookies.
    """
    from mlflow.server import app as flask_app, auth
    from werkzeug.datastructures import Authorization

    app = auth.create_app()
    admin = auth.auth_config.admin_username
    set_password(auth.store, admin, auth.auth_config.admin_password)
    if password := os.environ.get("MLFLOW_SEARCH_PASSWORD"):
        if not auth.store.has_user(SEARCH_USER):
            create_search_user(auth.store, admin, password)
        set_password(auth.store, SEARCH_USER, password)

    def is_valid(header: str) -> bool:
        # MLflow's own check reads Flask's current request. It caches logins: a page makes 50 requests.
        with flask_app.test_request_context(headers={"Authorization": header}):
            return isinstance(auth.authenticate_request(), Authorization)

    return LoginRequired(TrainingPage(app), is_valid)


def set_password(store: SqlAlchemyStore, user: str, password: str) -> None:
    """Sets the password of a user who has another."""
    if not store.authenticate_user(user, password):
        store.update_user(user, password=password)


def create_search_user(store: SqlAlchemyStore, admin: str, password: str) -> None:
    """Creates the user of the containers' searches, who may change the experiments and models that the admin owns.

    Before there was this user, searches logged in as the admin: without these permissions no study of theirs resumes.
    """
    store.create_user(SEARCH_USER, password)
    for experiment in store.list_experiment_permissions(admin):
        store.create_experiment_permission(experiment.experiment_id, SEARCH_USER, experiment.permission)
    for model in store.list_registered_model_permissions(admin):
        store.create_registered_model_permission(model.name, SEARCH_USER, model.permission)
