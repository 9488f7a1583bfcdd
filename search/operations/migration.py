"""A home moves from SQLite to PostgreSQL: table by table, compared row by row, the source untouched."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipelines.errors import NotFoundError, SpecError, UnavailableError
from search.home.addresses import is_http, is_postgresql
from search.home.locks import study_lock
from search.home.settings import Settings, read_settings
from search.home.text import one_line, redact
from search.optimization.studies import load_study, study_names
from search.storage.database import open_storage
from search.storage.heartbeats import abandoned
from search.tracking.runs import connect

_BATCH = 1000
_SCHEMA = {"alembic_version", "version_info"}
"""What each library keeps of its own schema; its own migrations wrote it at the target too."""
_SEEDED = {"experiments": 1, "workspaces": 1}
"""Rows that MLflow itself puts into new tables; the source has its own."""


@dataclass(frozen=True, slots=True)
class Migration:
    """What has moved: rows by table, of Optuna's database and of MLflow's."""

    optuna: dict[str, int]
    mlflow: dict[str, int]


def migrate(*, home: Path | None = None) -> Migration:
    """Copies a home's two SQLite databases to those that ``OPTUNA_STORAGE`` and ``MLFLOW_TRACKING_URI`` name.

    Artifacts stay where they are: the databases hold their addresses. Nothing is committed before every row of both
    was compared with its source, so that a failure leaves both targets empty.

    Args:
        home: The home that moves; ``MLP_SEARCH_HOME`` or ``mlruns/`` where it is not given.

    Raises:
        NotFoundError: The home has no databases of its own.
        SpecError: An address is missing or is none of a database that takes a home.
        UnavailableError: A study is being searched, a target is not empty or cannot be used, or a row differs.
    """
    target, source = read_settings(home), read_settings(home, {})
    _check_addresses(target)
    pairs = [(source.optuna_storage, target.optuna_storage), (source.tracking_uri, target.tracking_uri)]
    for path in (Path(address.removeprefix("sqlite:///")) for address, _ in pairs):
        if not path.is_file():
            raise NotFoundError(f"home {source.home}: must have databases of its own to move, got no {path.name}")
    try:
        with ExitStack() as stack:
            source.locks.mkdir(exist_ok=True, mode=0o700)
            for name in study_names(source):
                stack.enter_context(study_lock(source, name))
                _require_finished(source, name)
            open_storage(target)  # makes Optuna's tables, by its own migrations
            connect(target).search_experiments(max_results=1)  # and MLflow's
            copies = [_Copy(stack, *pair) for pair in pairs]
            return Migration(*[copy.run() for copy in copies])
    except sa.exc.SQLAlchemyError as error:
        raise UnavailableError(f"migrate: {one_line(error)}; both targets are as empty as they were") from error


def _check_addresses(target: Settings) -> None:
    places = {"OPTUNA_STORAGE": target.optuna_storage, "MLFLOW_TRACKING_URI": target.tracking_uri}
    problems = []
    for variable, address in places.items():
        if is_http(address):
            problems.append(
                f"{variable}: must be a database's address to move to, got the server {redact(address)}: name the"
                " database behind it"
            )
        elif not is_postgresql(address):
            problems.append(
                f"{variable}: must be the PostgreSQL database to move to, postgresql://…, got {redact(address)}"
            )
    if len(set(places.values())) == 1:
        problems.append("OPTUNA_STORAGE and MLFLOW_TRACKING_URI: must be two databases, got the same one twice")
    if target.registry_uri != target.tracking_uri:
        problems.append("MLFLOW_REGISTRY_URI: must be left out, the registry moves with the runs")
    if problems:
        raise SpecError(problems)


def _require_finished(source: Settings, name: str) -> None:
    if left := abandoned(source, load_study(source, name)):
        raise UnavailableError(
            f"study {name!r}: must have no trial left in training, got {len(left)}: mlp-search doctor --repair first,"
            " with OPTUNA_STORAGE and MLFLOW_TRACKING_URI unset"
        )


class _Copy:
    """One database on its way, in one transaction that ends with the stack."""

    def __init__(self, stack: ExitStack, source: str, target: str) -> None:
        engines = [sa.create_engine(source), sa.create_engine(target)]
        for engine in engines:
            stack.callback(engine.dispose)
        self._where = redact(target)
        self._source = stack.enter_context(engines[0].connect())
        self._source.exec_driver_sql("BEGIN")  # one state of it, for copying and for comparing
        self._target = stack.enter_context(engines[1].begin())
        self._from, self._to = _reflect(self._source), _reflect(self._target)

    def run(self) -> dict[str, int]:
        """Copies and compares; rows by table."""
        self._require_same_schema()
        tables = [table for table in self._to.sorted_tables if table.name not in _SCHEMA]
        self._require_empty(tables)
        for table in tables:
            for rows in self._rows(table.name):
                self._target.execute(table.insert(), [dict(row._mapping) for row in rows])
            self._continue_numbers(table)
        return {table.name: self._compare(table) for table in tables}

    def _require_same_schema(self) -> None:
        version = sa.text("SELECT version_num FROM alembic_version")
        found, made = self._source.execute(version).scalars().all(), self._target.execute(version).scalars().all()
        if found != made or self._from.tables.keys() - self._to.tables.keys():
            raise UnavailableError(
                f"migrate: the home must have the schema of the libraries installed here, {made}, got {found}: upgrade"
                " it with mlflow db upgrade or optuna storage upgrade"
            )

    def _require_empty(self, tables: list[sa.Table]) -> None:
        """A target has nothing but what the libraries themselves put into new tables, which goes."""
        for table in tables:
            if (count := _count(self._target, table)) > _SEEDED.get(table.name, 0):
                raise UnavailableError(f"{self._where}: must be empty, got {count} rows in {table.name}: name another")
        for table in reversed(tables):
            if table.name in _SEEDED:
                self._target.execute(table.delete())

    def _rows(self, name: str) -> Iterator[Sequence[sa.Row[Any]]]:
        if name in self._from.tables:
            yield from self._source.execute(self._from.tables[name].select()).partitions(_BATCH)

    def _continue_numbers(self, table: sa.Table) -> None:
        """Lets PostgreSQL number new rows after those that came with their numbers."""
        for column in table.primary_key.columns:
            find = sa.select(sa.func.pg_get_serial_sequence(f'"{table.name}"', column.name))
            if sequence := self._target.scalar(find):
                highest = sa.select(sa.func.max(column)).scalar_subquery()
                self._target.execute(sa.select(sa.func.setval(sequence, highest)))

    def _compare(self, table: sa.Table) -> int:
        """Every row, whatever the order in which the databases give them; how many there are.

        Raises:
            UnavailableError: They differ.
        """
        ours = _digest(self._rows(table.name))
        theirs = _digest(self._target.execute(table.select()).partitions(_BATCH))
        if ours != theirs:
            raise UnavailableError(
                f"{self._where}: {table.name} must hold the {ours[0]} rows of the home, got {theirs[0]} rows"
                f"{'' if ours[0] != theirs[0] else ' that differ'}: nothing was moved, try again"
            )
        return ours[0]


def _reflect(connection: sa.Connection) -> sa.MetaData:
    metadata = sa.MetaData()
    metadata.reflect(connection)
    return metadata


def _count(connection: sa.Connection, table: sa.Table) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def _digest(batches: Iterable[Sequence[sa.Row[Any]]]) -> tuple[int, int]:
    """The number of rows and the sum of their hashes: equal for equal rows in any order."""
    count, total = 0, 0
    for rows in batches:
        for row in rows:
            plain = sorted((name, _plain(value)) for name, value in row._mapping.items())
            count, total = count + 1, total + int.from_bytes(hashlib.sha256(repr(plain).encode()).digest())
    return count, total


def _plain(value: Any) -> Any:
    """A value as both databases' drivers give it."""
    if isinstance(value, bool):
        return int(value)
    return bytes(value) if isinstance(value, memoryview) else value
