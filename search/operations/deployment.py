"""What ``docker-compose up`` does before the servers start: checks the settings, and makes the databases.

``python -m search.deployment settings FOLDER`` says what is wrong with ``.env``, a sentence a setting, and whether the
folder, where ``SEARCH_DATA`` is mounted, can be read;
``python -m search.deployment databases`` gives Optuna, MLflow and MLflow's logins a database each.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from pipelines.errors import InputError, MlpSearchError, UnavailableError

DATABASES = {"optuna": "optuna", "mlflow": "mlflow", "mlflow_auth": "mlflow"}
"""Each database, and the role that owns it."""
PASSWORDS = {"optuna": "OPTUNA_DB_PASSWORD", "mlflow": "MLFLOW_DB_PASSWORD"}
"""The setting that holds each role's password: whoever searches need not read who may log in to MLflow."""

_MIN_PASSWORD, _MIN_KEY, _MIN_MEMORY_MB = 12, 32, 1024
_UNITS_MB = {"m": 1, "g": 1024}


def check_settings(environ: Mapping[str, str], data: Path) -> None:
    """Checks the values of ``.env``; that none is missing or empty Compose has seen to.

    Args:
        environ: The settings.
        data: Where the folder that ``SEARCH_DATA`` names is mounted.

    Raises:
        InputError: One sentence for each that breaks its rule; a password itself is never in it.
    """
    problems = []
    for name, rule in (_RULES | {"SEARCH_DATA": partial(_folder, data)}).items():
        value = environ.get(name, "")
        if problem := rule(value) if value else "must be set, got nothing":
            problems.append(f".env, {name}: {problem}")
    if problems:
        raise InputError(problems)


def _password(value: str) -> str | None:
    if not (value.isascii() and value.isprintable()):
        return "must be printable ASCII characters, got others: choose another"  # all that HTTP's basic auth agrees on
    if len(value) < _MIN_PASSWORD:
        return f"must have {_MIN_PASSWORD} characters or more, got {len(value)}: choose a longer one"
    return None


def _key(value: str) -> str | None:
    if len(value) < _MIN_KEY:
        return f"must have {_MIN_KEY} characters or more, got {len(value)}: take what `openssl rand -hex 32` prints"
    return None


def _port(value: str) -> str | None:
    if re.fullmatch(r"[1-9][0-9]{0,4}", value) and int(value) < 65536:
        return None
    return f"must be a port from 1 to 65535, got {value!r}"


def _hosts(value: str) -> str | None:
    wrong = [host for host in value.split(",") if not re.fullmatch(r"[\w.\-\[\]:]*\w[\w.\-\[\]:]*(:\*)?", host.strip())]
    if wrong:
        return f"must be hosts with their ports like localhost:5000,mlflow.example.org, got {wrong[0]!r}"
    return None


def _artifacts(value: str) -> str | None:
    if value == "/artifacts" or re.fullmatch(r"s3://[a-z0-9][a-z0-9.\-]+(/.*)?", value):
        return None
    return f"must be /artifacts or an address like s3://bucket/folder, got {value!r}"


def _folder(mounted: Path, value: str) -> str | None:
    if not value.startswith(("/", "./", "../", "~")):
        return f"must be a folder with a path like ./data or /srv/data, got {value!r}"
    if not (mounted.is_dir() and os.access(mounted, os.R_OK | os.X_OK)):
        return f"must be a folder that everybody may read, got {value!r}: see its type and mode with ls -ld"
    return None


def _memory(value: str) -> str | None:
    found = re.fullmatch(r"(\d+)([mg])b?", value.lower())
    if found and int(found[1]) * _UNITS_MB[found[2]] >= _MIN_MEMORY_MB:
        return None
    return f"must be an amount from 1g up, like 1500m or 4g, got {value!r}"


_RULES: dict[str, Callable[[str], str | None]] = {
    "POSTGRES_PASSWORD": _password,
    "OPTUNA_DB_PASSWORD": _password,
    "MLFLOW_DB_PASSWORD": _password,
    "MLFLOW_ADMIN_PASSWORD": _password,
    "MLFLOW_SECRET_KEY": _key,
    "MLFLOW_PORT": _port,
    "MLFLOW_ALLOWED_HOSTS": _hosts,
    "MLFLOW_ARTIFACTS": _artifacts,
    "DASHBOARD_PORT": _port,
    "SEARCH_MEMORY": _memory,
}


def make_databases(environ: Mapping[str, str]) -> None:
    """Makes the databases and their roles where there are none, and sets the roles' passwords.

    Args:
        environ: ``PGHOST``, ``PGUSER`` and ``PGPASSWORD`` of the superuser, and the roles' passwords.

    Raises:
        UnavailableError: PostgreSQL cannot be reached, or refuses the superuser.
    """
    import psycopg2
    from psycopg2 import sql

    try:
        connection = psycopg2.connect(dbname="postgres", host=environ["PGHOST"], user=environ["PGUSER"])
    except psycopg2.OperationalError as error:
        if "password" in str(error):
            raise UnavailableError(
                ".env, POSTGRES_PASSWORD: PostgreSQL refuses it; it was set when the volume was made: give that one, or"
                " change it with ALTER ROLE first"
            ) from error
        raise UnavailableError(f"PostgreSQL at {environ['PGHOST']}: {' '.join(str(error).split())}") from error
    connection.autocommit = True  # a database cannot be made within a transaction
    with connection.cursor() as cursor:
        for role, setting in PASSWORDS.items():
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
            verb = sql.SQL("ALTER" if cursor.fetchone() else "CREATE")
            cursor.execute(
                sql.SQL("{} ROLE {} LOGIN PASSWORD %s").format(verb, sql.Identifier(role)), (environ[setting],)
            )
        for database, role in DATABASES.items():
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
            if not cursor.fetchone():
                names = sql.Identifier(database), sql.Identifier(role)
                cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*names))
            cursor.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
    connection.close()


def main(step: str, *arguments: str) -> int:
    """Does a step; returns 1, with a sentence on stderr, where it cannot be done."""
    from search.home.text import report_problems

    try:
        if step == "settings":
            check_settings(os.environ, Path(arguments[0]))
        else:
            make_databases(os.environ)
    except MlpSearchError as error:
        report_problems(error.problems if isinstance(error, InputError) else [str(error)])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
