"""Copies the SQLite databases of a home to PostgreSQL and compares every row; the source stays unchanged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from pipelines.errors import NotFoundError, SpecError, UnavailableError
from search.home.addresses import is_http, is_postgresql
from search.home.locks import is_any_held, study_lock
from search.home.relocation import follow_home
from search.home.settings import DATABASE_FILES, Settings, read_settings
from search.home.text import one_line, redact
from search.optimization.studies import load_study, study_names
from search.storage.database import open_storage
from search.storage.sharing import abandoned
from search.tracking.connection import connect

_BATCH = 1000
_SCHEMA = {"alembic_version", "version_info"}
"""Tables with the schema's version, which each library's own migrations write at the target too."""
_SEEDED = {"experiments": 1, "workspaces": 1}
"""Numbers of rows that MLflow inserts into new tables; the source has its own."""


@dataclass(frozen=True, slots=True)
class Migration:
    """Numbers of copied rows by table, of Optuna's database and of MLflow's."""

    optuna: dict[str, int]
    mlflow: dict[str, int]


def migrate(*, home: Path | None = None) -> Migration:
    """Copies a home's two SQLite databases to those that ``OPTUNA_STORAGE`` and ``MLFLOW_TRACKING_URI`` name.

    Artifacts stay where they are: the databases hold their addresses. Nothing is committed before every row of both
    databases was compared with its source, so a failure leaves both targets empty.

    Args:
        home: The home to copy; by default ``MLP_SEARCH_HOME``, else ``mlruns/``.

    Raises:
        NotFoundError: The home has no databases of its own.
        SpecError: A target's address is missing or is not PostgreSQL's.
        UnavailableError: A study is being searched, a training or a promotion runs, a target is not empty or cannot be
            used, or a row differs.
    """
    target = read_settings(home)
    source = read_settings(target.home, {})  # the databases in the home, whatever the variables name
    _check_addresses(target)
    pairs = [(source.optuna_storage, target.optuna_storage), (source.tracking_uri, target.tracking_uri)]
    for name in DATABASE_FILES:
        if not (source.home / name).is_file():
            raise NotFoundError(f"home {source.home}: must have databases of its own to move, got no {name}")
    follow_home(source)
    try:
        with ExitStack() as stack:
            source.locks.mkdir(exist_ok=True, mode=0o700)
            is_busy = is_any_held(source, "*.lock")
            for name in study_names(source):
                stack.enter_context(study_lock(source, name))
                _require_finished(source, name)
            if is_busy:
                raise UnavailableError(
                    f"home {source.home}: must be idle, but a training or a promotion runs in it: wait for it"
                )
            open_storage(target)  # creates Optuna's tables by Optuna's own migrations
            connect(target).search_experiments(max_results=1)  # creates MLflow's
            copies = [_DatabaseCopy(stack, *pair) for pair in pairs]
            return Migration(*[copy.run() for copy in copies])
    except sa.exc.SQLAlchemyError as error:
        raise UnavailableError(f"migrate: {one_line(error)}; both targets are as empty as they were") from error


def _check_addresses(target: Settings) -> None:
    places = {"OPTUNA_STORAGE": target.optuna_storage, "MLFLOW_TRACKING_URI": target.tracking_uri}
    problems = [
        f"{variable}: must be the PostgreSQL database to move to, postgresql://…, got {redact(address)}"
        + (": name the database behind it" if is_http(address) else "")
        for variable, address in places.items()
        if not is_postgresql(address)
    ]
    if len(set(places.values())) == 1:
        problems.append("OPTUNA_STORAGE and MLFLOW_TRACKING_URI: must be two databases, got the same one twice")
    if target.registry_uri != target.tracking_uri:
        problems.append("MLFLOW_REGISTRY_URI: must be unset, because the registry moves with the runs")
    if problems:
        raise SpecError(problems)


def _require_finished(source: Settings, name: str) -> None:
    if left := abandoned(source, load_study(source, name)):
        raise UnavailableError(
            f"study {name!r}: must have no trial left in training, got {len(left)}: run mlp-search doctor --repair"
            " first, with OPTUNA_STORAGE and MLFLOW_TRACKING_URI unset"
        )


class _DatabaseCopy:
    """Copies one database in one transaction, which is committed when the stack closes without an error."""

    def __init__(self, stack: ExitStack, source: str, target: str) -> None:
        engines = [sa.create_engine(address, poolclass=sa.NullPool) for address in (source, target)]
        self._source, self._target = [stack.enter_context(engine.begin()) for engine in engines]
        self._source.exec_driver_sql("BEGIN")  # copying and comparing must see one state of the source
        self._where = redact(target)
        # The source is read through the target's types: SQLite has no booleans of its own.
        self._schema = sa.MetaData()
        self._schema.reflect(self._target)

    def run(self) -> dict[str, int]:
        """Copies and compares every table; returns the numbers of rows by table."""
        self._require_same_schema()
        tables = [table for table in self._schema.sorted_tables if table.name not in _SCHEMA]
        self._require_empty(tables)
        for table in tables:
            for rows in self._source.execute(table.select()).mappings().partitions(_BATCH):
                self._target.execute(table.insert(), [dict(row) for row in rows])
            self._continue_numbers(table)
        return {table.name: self._compare(table) for table in tables}

    def _require_same_schema(self) -> None:
        version = sa.text("SELECT version_num FROM alembic_version")
        found, made = (connection.scalars(version).all() for connection in (self._source, self._target))
        if found != made or sa.inspect(self._source).get_table_names() != sorted(self._schema.tables):
            raise UnavailableError(
                f"migrate: the home must have the schema of the libraries installed here, {made}, got {found}: upgrade"
                " it with mlflow db upgrade or optuna storage upgrade"
            )

    def _require_empty(self, tables: list[sa.Table]) -> None:
        """Requires an empty target; deletes the rows that the libraries inserted into new tables."""
        for table in reversed(tables):
            count = self._target.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            if count > _SEEDED.get(table.name, 0):
                raise UnavailableError(
                    f"{self._where}: must be empty, got {count} rows in {table.name}: choose another database"
                )
            self._target.execute(table.delete())

    def _continue_numbers(self, table: sa.Table) -> None:
        """Sets PostgreSQL's sequences to the highest copied numbers: the rows came with their numbers."""
        for column in table.primary_key.columns:
            find = sa.select(sa.func.pg_get_serial_sequence(f'"{table.name}"', column.name))
            if sequence := self._target.scalar(find):
                highest = sa.select(sa.func.max(column)).scalar_subquery()
                self._target.execute(sa.select(sa.func.setval(sequence, highest)))

    def _compare(self, table: sa.Table) -> int:
        """Compares every row of a table in both databases, in any order; returns the number of rows.

        Raises:
            UnavailableError: They differ.
        """
        expected, found = (_digest(database.execute(table.select())) for database in (self._source, self._target))
        if expected != found:
            raise UnavailableError(
                f"{self._where}: {table.name} must hold the {expected[0]} rows of the home, got {found[0]} rows"
                f"{'' if expected[0] != found[0] else ' that differ'}: nothing was moved, try again"
            )
        return expected[0]


def _digest(rows: Iterable[object]) -> tuple[int, int]:
    """The number of rows and the sum of their hashes, which is equal for equal rows in any order."""
    hashes = [int.from_bytes(hashlib.sha256(repr(row).encode()).digest()) for row in rows]
    return len(hashes), sum(hashes)
