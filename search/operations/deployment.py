"""Steps that ``docker-compose up`` runs before its servers start: checks the settings, creates the databases.

``python -m search.operations.deployment settings FOLDER`` checks ``.env`` and that FOLDER, where ``SEARCH_DATA`` is
mounted, can be read. ``python -m search.operations.deployment databases`` creates one database each for Optuna, for
MLflow and for MLflow's logins.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from pipelines.errors import InputError, MlpSearchError, UnavailableError
from search.home.addresses import PORT

DATABASES = {"optuna": "optuna", "mlflow": "mlflow", "mlflow_auth": "mlflow"}
"""The owner role of each database."""
PASSWORDS = {"optuna": "OPTUNA_DB_PASSWORD", "mlflow": "MLFLOW_DB_PASSWORD"}
"""The setting with each role's password. Two roles: a searching process must not read MLflow's logins."""

# Printable ASCII: the only characters that every client encodes alike in HTTP's basic authentication.
_PASSWORD = (r"[ -~]{12,}", "12 or more printable ASCII characters")
_PORT = (PORT, "a port from 1 to 65535")
_HOST = r"\s*[\w.\-\[\]:]*\w[\w.\-\[\]:]*(:\*)?\s*"
_RULES = {
    "POSTGRES_PASSWORD": _PASSWORD,
    "OPTUNA_DB_PASSWORD": _PASSWORD,
    "MLFLOW_DB_PASSWORD": _PASSWORD,
    "MLFLOW_ADMIN_PASSWORD": _PASSWORD,
    "MLFLOW_SEARCH_PASSWORD": _PASSWORD,
    "MLFLOW_SECRET_KEY": (r".{32,}", "32 or more characters, as `openssl rand -hex 32` prints them"),
    "MLFLOW_PORT": _PORT,
    "MLFLOW_ALLOWED_HOSTS": (f"{_HOST}(,{_HOST})*", "hosts with their ports like localhost:5000,mlflow.example.org"),
    "MLFLOW_ARTIFACTS": (
        r"/artifacts|s3://[a-z0-9][a-z0-9.\-]+(/.*)?",
        "/artifacts or an address like s3://bucket/folder",
    ),
    "DASHBOARD_PORT": _PORT,
    "SEARCH_MEMORY": (r"(?i:[1-9][0-9]{3,}m|[1-9][0-9]*g)[bB]?", "an amount from 1g up, like 1500m or 4g"),
    "SEARCH_DATA": (r"(/|\./|\.\./|~).*", "a folder with a path like ./data or /srv/data"),
}
"""The pattern of each setting, and what it means in words."""


def check_settings(environ: Mapping[str, str], data: Path) -> None:
    """Checks the values of ``.env``.

    Args:
        environ: The settings.
        data: Where the folder that ``SEARCH_DATA`` names is mounted.

    Raises:
        InputError: One message for each wrong setting; none shows a password.
    """
    problems = []
    for name, (pattern, rule) in _RULES.items():
        value = environ.get(name, "")
        shown = f"{len(value)} characters" if name.endswith(("PASSWORD", "KEY")) else repr(value)
        if not value:
            problems.append(f".env, {name}: must be set, got nothing")
        elif not re.fullmatch(pattern, value):
            problems.append(f".env, {name}: must be {rule}, got {shown}")
        elif name == "SEARCH_DATA" and not (data.is_dir() and os.access(data, os.R_OK | os.X_OK)):
            problems.append(f".env, {name}: must be a folder that everybody may read, got {value!r}: see ls -ld")
    if problems:
        raise InputError(problems)


def make_databases(environ: Mapping[str, str]) -> None:
    """Creates the missing roles and databases, and sets the roles' passwords.

    Args:
        environ: ``PGHOST``, ``PGUSER`` and ``PGPASSWORD`` of the superuser, and the roles' passwords.

    Raises:
        UnavailableError: PostgreSQL cannot be reached, or refuses the superuser.
    """
    import psycopg2

    try:
        connection = psycopg2.connect(dbname="postgres", host=environ["PGHOST"], user=environ["PGUSER"])
    except psycopg2.OperationalError as error:
        if "password" in str(error):
            raise UnavailableError(
                ".env, POSTGRES_PASSWORD: must be the password that PostgreSQL's volume was created with, got another:"
                " set that one, or change it with ALTER ROLE first"
            ) from error
        raise UnavailableError(f"PostgreSQL at {environ['PGHOST']}: {' '.join(str(error).split())}") from error
    connection.autocommit = True  # PostgreSQL creates no database within a transaction
    with closing(connection), connection.cursor() as cursor:
        for role, setting in PASSWORDS.items():
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
            verb = "ALTER" if cursor.fetchone() else "CREATE"
            cursor.execute(f"{verb} ROLE {role} LOGIN PASSWORD %s", [environ[setting]])
        for database, role in DATABASES.items():
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
            if not cursor.fetchone():
                cursor.execute(f"CREATE DATABASE {database} OWNER {role}")
            cursor.execute(f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")


def main(step: str, *arguments: str) -> int:
    """Runs a step; returns 1, with a message for each problem on stderr, if it fails."""
    from search.home.text import report_problems

    try:
        if step == "settings":
            check_settings(os.environ, Path(arguments[0]))
        else:
            make_databases(os.environ)
    except MlpSearchError as error:
        report_problems(str(error).splitlines())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
