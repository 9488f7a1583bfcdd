"""MLflow: a run per trial, metrics in batches, from a thread of its own that training never waits for."""

from __future__ import annotations

import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.errors import UnavailableError
from search.settings import Settings, prepare_sqlite
from search.spool import Entry, Epoch, RunStart, artifacts, read_entry, remove_entry

FLUSH_S = 1.0
_MAX_METRICS = 1000  # MLflow's limit for one call

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """What MLflow's page shows as a run's dataset."""

    name: str
    digest: str
    source: str
    profile: Mapping[str, Any] = field(default_factory=dict)


class Runs:
    """The runs of one experiment, through MLflow's own client.

    Args:
        settings: Where MLflow is.
        study: The experiment's name.
        description: What the experiment's page says above its runs.
        dataset: Logged as the input of each run.

    Raises:
        UnavailableError: The tracking server cannot be reached or refuses the experiment.
    """

    def __init__(self, settings: Settings, study: str, description: str, dataset: DatasetInput | None) -> None:
        from mlflow.exceptions import MlflowException

        self.study = study
        self._dataset = dataset
        try:
            prepare_sqlite(settings.tracking_uri)
            self.client = connect(settings)
            self.experiment_id = self._open_experiment(settings.artifact_root, description)
        except (MlflowException, OSError, sqlite3.Error) as error:
            raise UnavailableError(f"MLflow at {public(settings.tracking_uri)}: {one_line(error)}") from error

    def _open_experiment(self, artifact_root: str | None, description: str) -> str:
        from mlflow.exceptions import MlflowException

        if not (found := self.client.get_experiment_by_name(self.study)):
            tags = {"mlflow.experimentKind": "custom_model_development", "mlflow.note.content": description}
            try:
                return str(self.client.create_experiment(self.study, artifact_root, tags))
            except MlflowException:  # another process was faster, or it is an error that the next line repeats
                found = self.client.get_experiment_by_name(self.study)
                if not found:
                    raise
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def find(self, run_name: str) -> list[Any]:
        """The runs of that name that were not deleted."""
        query = f"attributes.run_name = '{run_name}'"
        return list(self.client.search_runs([self.experiment_id], query, max_results=10))

    def open(self, start: RunStart, *, replace: bool) -> str:
        """Opens a run.

        Args:
            start: What is known of it.
            replace: Whether a dead or interrupted process may have left a run of that name, to be deleted first.
        """
        for left in self.find(start.run_name) if replace else ():
            self.client.delete_run(left.info.run_id)
        run = self.client.create_run(self.experiment_id, start.started_ms, dict(start.tags), start.run_name)
        run_id = str(run.info.run_id)
        if self._dataset:
            self.client.log_inputs(run_id, [_as_input(self._dataset)])
        return run_id

    def log(self, run_id: str, params: Mapping[str, Any], epochs: Sequence[Epoch], entry: Entry | None) -> None:
        """Logs what is new of a run, in as few calls as MLflow's limits allow.

        An epoch that is there already, with the same time, stays a single point.
        """
        from mlflow.entities import Metric, Param, RunTag

        points = [Metric(key, value, e.at_ms, e.step) for e in epochs for key, value in e.metrics.items()]
        tags = []
        if entry:
            points += [Metric(key, value, entry.ended_ms, 0) for key, value in entry.metrics.items()]
            tags = [RunTag(key, str(value)) for key, value in entry.tags.items()]
        given = [Param(key, str(value)) for key, value in params.items()]
        room = _MAX_METRICS - len(given) - len(tags)
        self.client.log_batch(run_id, points[:room], given, tags)
        for first in range(room, len(points), _MAX_METRICS):
            self.client.log_batch(run_id, points[first : first + _MAX_METRICS])

    def end(self, run_id: str, entry: Entry, folder: Path) -> None:
        """Gives a run its files and closes it."""
        for path in artifacts(folder):
            self.client.log_artifact(run_id, str(path))
        status = {"FAIL": "FAILED", "INTERRUPTED": "KILLED"}.get(entry.state, "FINISHED")
        self.client.set_terminated(run_id, status, entry.ended_ms)

    def is_there(self, run_id: str) -> bool:
        """Whether a run exists and was not deleted."""
        from mlflow.exceptions import MlflowException

        try:
            return str(self.client.get_run(run_id).info.lifecycle_stage) == "active"
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise


def connect(settings: Settings) -> Any:
    """MLflow's client.

    Raises:
        UnavailableError: A server does not answer.
    """
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient

    require_answer(settings)
    return MlflowClient(settings.tracking_uri, settings.registry_uri)


def require_answer(settings: Settings) -> None:
    """Has a quick look whether a tracking server answers: MLflow's own retries would take minutes.

    Raises:
        UnavailableError: There is no answer, or the login is refused.
    """
    if not settings.tracking_uri.startswith("http"):
        return
    import requests

    address = public(settings.tracking_uri)
    try:
        answer = requests.get(settings.tracking_uri.rstrip("/") + "/health", timeout=10)
    except requests.RequestException as error:
        raise UnavailableError(
            f"MLflow at {address}: no answer ({type(error).__name__}); start the server, or correct MLFLOW_TRACKING_URI"
        ) from error
    if not answer.ok:
        raise UnavailableError(f"MLflow at {address}: must answer /health, got status {answer.status_code}")


def public(address: str) -> str:
    """An address without the password in it."""
    from urllib.parse import urlsplit

    parts = urlsplit(address)
    if not parts.password:
        return address
    return address.replace(f":{parts.password}@", ":***@", 1)


def one_line(error: BaseException) -> str:
    """An error's text on one line of reasonable length."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _as_input(dataset: DatasetInput) -> Any:
    import json

    from mlflow import entities

    source = json.dumps({"uri": dataset.source})
    described = entities.Dataset(
        dataset.name, dataset.digest, "local", source, profile=json.dumps(dict(dataset.profile))
    )
    return entities.DatasetInput(described, [entities.InputTag("mlflow.data.context", "training")])


@dataclass(slots=True)
class _Live:
    """A run in progress, as the tracking thread knows it."""

    start: RunStart
    replace: bool = False
    run_id: str | None = None
    knows_params: bool = False
    unsent: list[Epoch] = field(default_factory=list)
    ended: Path | None = None
    killed: bool = False
    is_deleted: bool = False


class Tracker:
    """Carries what a search does to MLflow, in the background.

    Every method returns at once. Where MLflow does not answer, work waits here and is tried again; what has ended
    waits on disk in the spool, so that nothing depends on this process living on.

    Args:
        connect_runs: Makes the ``Runs``; called in the thread, because importing MLflow takes seconds.
        warn: Called with one line when MLflow stops answering, and when it answers again.
    """

    def __init__(self, connect_runs: Callable[[], Runs], warn: Callable[[str], None] = logger.warning) -> None:
        self._connect, self._warn = connect_runs, warn
        self._inbox: queue.Queue[tuple[Callable[[], None], bool]] = queue.Queue()
        self._live: dict[str, _Live] = {}
        self._handed_over, self._delivered = 0, 0
        self._opened: queue.Queue[tuple[str, str]] = queue.Queue()
        self._connected = threading.Event()
        self._error: Exception | None = None
        self._closing_at: float | None = None
        self._pause_s = 0.0
        self._thread = threading.Thread(target=self._work, name="mlp-search tracking", daemon=True)
        self._thread.start()

    def wait_connected(self) -> None:
        """Waits for the first answer.

        Raises:
            UnavailableError: There was none.
        """
        self._connected.wait()
        if self._error:
            raise self._error

    def open(self, start: RunStart, *, replace: bool = False) -> None:
        """A run begins; it is opened at once, so that the trial can know its run.

        Args:
            start: What is known of it.
            replace: Whether MLflow may hold a run of that name from an attempt that was lost.
        """
        self._put(lambda: self._live.__setitem__(start.run_name, _Live(start, replace)), urgent=True)

    def log_epoch(self, run_name: str, epoch: Epoch) -> None:
        """An epoch of an open run has ended."""
        self._put(lambda: self._live[run_name].unsent.append(epoch))

    def end(self, run_name: str, folder: Path) -> None:
        """A run has ended and lies in the spool."""
        self._handed_over += 1
        self._put(lambda: setattr(self._live[run_name], "ended", folder))

    def kill(self, run_name: str) -> None:
        """A run was interrupted; its trial will be trained again."""
        self._put(lambda: setattr(self._live[run_name], "killed", True))

    def deliver(self, folder: Path) -> None:
        """An entry of an earlier process waits in the spool."""
        self._handed_over += 1
        entry = read_entry(folder)
        live = _Live(entry.start, replace=True, unsent=list(entry.history), ended=folder)
        self._put(lambda: self._live.__setitem__(entry.start.run_name, live))

    def _put(self, change: Callable[[], None], *, urgent: bool = False) -> None:
        self._inbox.put((change, urgent))

    def opened(self) -> list[tuple[str, str]]:
        """(run name, run id) of the runs opened since the last call."""
        return [self._opened.get_nowait() for _ in range(self._opened.qsize())]

    def close(self, timeout_s: float = 60.0) -> int:
        """Waits until MLflow has everything, up to ``timeout_s``; returns how many results stay in the spool."""
        self._closing_at = time.monotonic() + timeout_s
        self._put(lambda: None, urgent=True)
        self._thread.join(timeout_s + 5)
        return self._handed_over - self._delivered

    def _work(self) -> None:
        try:
            self._runs = self._connect()
        except Exception as error:  # noqa: BLE001  (handed to whoever waits for the connection)
            self._error = error
            return
        finally:
            self._connected.set()
        while not self._is_done():
            self._take_in()
            try:
                self._send()
            except Exception as error:  # noqa: BLE001  (whatever MLflow's stores raise: try again later)
                self._back_off(error)
            else:
                self._recover()

    def _is_done(self) -> bool:
        if self._closing_at is None or not self._inbox.empty():
            return False
        return not self._live or time.monotonic() >= self._closing_at

    def _take_in(self) -> None:
        """Waits for work, and gathers what comes in until the next flush."""
        until = time.monotonic() + max(FLUSH_S, self._pause_s)
        while (left := until - time.monotonic()) > 0:
            try:
                change, urgent = self._inbox.get(timeout=left)
            except queue.Empty:
                return
            change()
            if urgent and self._inbox.empty() and not self._pause_s:
                return

    def _send(self) -> None:
        for name, live in list(self._live.items()):
            try:
                if not live.is_deleted:
                    self._send_run(name, live)
            except Exception:
                if live.run_id is None or self._runs.is_there(live.run_id):
                    raise
                live.is_deleted = True
                self._warn(f"somebody deleted the run of {name} in MLflow; its result stays in the spool")
            if live.ended or live.killed:
                del self._live[name]

    def _send_run(self, name: str, live: _Live) -> None:
        if live.run_id is None:
            replace, live.replace = live.replace, True  # an attempt that fails may leave a run behind
            live.run_id = self._runs.open(live.start, replace=replace)
            self._opened.put((name, live.run_id))
        entry = read_entry(live.ended) if live.ended else None
        if live.unsent or entry or live.killed:
            params = {} if live.knows_params else live.start.params
            self._runs.log(live.run_id, params, live.unsent, entry)
            live.knows_params, live.unsent = True, []
        if entry and live.ended:
            self._runs.end(live.run_id, entry, live.ended)
            remove_entry(live.ended)
            self._delivered += 1
        elif live.killed:
            self._runs.client.set_terminated(live.run_id, "KILLED")

    def _back_off(self, error: Exception) -> None:
        if not self._pause_s:
            self._warn(f"MLflow does not answer; training goes on and results wait on disk: {one_line(error)}")
            logger.debug("tracking failed", exc_info=error)
        self._pause_s = min(30.0, max(1.0, self._pause_s * 2))

    def _recover(self) -> None:
        if self._pause_s:
            self._pause_s = 0.0
            self._warn("MLflow answers again and has what was waiting")
