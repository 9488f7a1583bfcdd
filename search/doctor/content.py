"""Compares each run with its trial's result: tags, parameters, metrics, epochs, and the hashes of its files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeAlias

from pipelines.errors import MlpSearchError
from pipelines.training.history import EMPTY_SHA256, sha256
from search.doctor.findings import Finding
from search.doctor.view import StudyView, n_epochs
from search.finals.sealed_test import FOLDER
from search.finals.tested_models import READ
from search.finals.training import refit_metrics
from search.optimization.leaderboard import metrics_of_epochs
from search.tracking.connection import mlflow_errors
from search.tracking.entries import CHECKPOINT_FILE, LOST, MODEL_FILE, Entry, now_ms
from search.tracking.history import read_artifact, read_history
from search.training.continuation import CHECKPOINT_TAG, MODEL_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Copies: TypeAlias = Callable[[], dict[str, Path]]
"""Returns the files of a home by their hashes."""
_HISTORY = LOST + "history"
_BY_DOCTOR = ("damaged", "missing")
"""First words of the reasons that a repair records; deleted models have others."""
_MAX_LISTED = 200  # characters for the lost epochs of one metric: MLflow limits a tag's length
_TAGS = ("trial.state", "study", "trial", "model_sha256", "dataset.fingerprint")


def content_findings(view: StudyView, copies: Copies) -> Iterator[Finding]:
    """Finds what the runs of a study lack."""
    for name, run in view.matched.items():
        yield from _values(view, view.records[name], run)
        yield from _history(view, view.records[name], run)
    records = {run.info.run_id: view.records[name] for name, run in view.matched.items()}
    for run in view.runs:
        if "study" in run.data.tags or MODEL_TAG in run.data.tags:
            record = records.get(run.info.run_id)
            yield from _files(view, run, record.tags if record else {}, copies)


def _values(view: StudyView, record: Entry, run: Run) -> Iterator[Finding]:
    """Compares tags, parameters, and the metrics that have one value for a run."""
    client, data, subject = view.client, run.data, f"{view.name}: {record.start.run_name}"
    tags = {key: str(value) for key, value in {**record.start.tags, **record.tags}.items() if key in _TAGS}
    # A parameter with another value stays: MLflow changes none.
    params = {key: str(value) for key, value in record.start.params.items() if key not in data.params}
    compared: list[tuple[str, Mapping[str, object], Mapping[str, object], Callable[..., object]]] = [
        ("wrong tags", tags, data.tags, client.set_tag),
        ("missing parameters", params, data.params, client.log_param),
        ("wrong figures", record.metrics, data.metrics, partial(_log_metric, client)),
    ]
    for kind, wanted, logged, log in compared:
        if wrong := {key: value for key, value in wanted.items() if logged.get(key) != value}:
            what = "sets " + ", ".join(f"{key} = {value}" for key, value in wrong.items())
            yield Finding(kind, subject, what, partial(_log, log, run.info.run_id, wrong))


def _log(log: Callable[..., object], run_id: str, values: Mapping[str, object]) -> None:
    for key, value in values.items():
        log(run_id, key, value)


def _log_metric(client: MlflowClient, run_id: str, key: str, value: float) -> None:
    """Logs a value so that MLflow shows it: MLflow shows the value of the last step with the latest time."""
    step = max((point.step for point in client.get_metric_history(run_id, key)), default=0)
    client.log_metric(run_id, key, value, now_ms(), step)


def _history(view: StudyView, record: Entry, run: Run) -> Iterator[Finding]:
    from mlflow.entities import Metric

    client, run_id = view.client, run.info.run_id
    metrics = metrics_of_epochs(view.study.user_attrs if view.study else {})
    if record.start.tags.get("role") == "refit":
        metrics = refit_metrics(metrics)
    steps = range(1, n_epochs(record) + 1)
    logged = {epoch.step: epoch.metrics for epoch in (read_history(client, run_id, metrics) if steps else ())}
    points, lost = [], []
    for key in metrics:
        missing = {step for step in steps if key not in logged.get(step, {})}
        known = [epoch for epoch in record.history if key in epoch.metrics and epoch.step in missing]
        points += [Metric(key, epoch.metrics[key], epoch.at_ms, epoch.step) for epoch in known]
        if unknown := missing.difference(epoch.step for epoch in known):
            lost.append(f"{key} of epoch {', '.join(map(str, sorted(unknown)))}"[:_MAX_LISTED])
    if not points and (not lost or _HISTORY in run.data.tags):
        return

    def fill() -> None:
        client.log_batch(run_id, points)
        if lost:
            client.set_tag(run_id, _HISTORY, "; ".join(lost))

    what = f"logs the {len(points)} values that Optuna has; records as lost: {'; '.join(lost) or 'nothing'}"
    yield Finding("history with gaps", f"{view.name}: {record.start.run_name}", what, fill)


def _files(view: StudyView, run: Run, recorded: Mapping[str, str], copies: Copies) -> Iterator[Finding]:
    """Checks the files whose hashes a run has in its tags; a trial copied from another one has no files.

    Tags that Optuna has count: those of the run may have been changed in MLflow, which is a finding of its own.
    """
    tags, run_id = {**run.data.tags, **recorded}, run.info.run_id
    for name, tag in ((MODEL_FILE, MODEL_TAG), (CHECKPOINT_FILE, CHECKPOINT_TAG)):
        if tags.get(tag, EMPTY_SHA256) == EMPTY_SHA256 or "copied_from" in tags:
            continue
        file, lost = RecordedFile(view.client, run.info.artifact_uri, name, tags[tag]), LOST + name
        if lost not in tags:
            set_tag = partial(view.client.set_tag, run_id, lost)
            yield from file.findings(f"{view.name}: {run.info.run_name}", copies, set_tag)
        elif tags[lost].startswith(_BY_DOCTOR):
            yield from _found_again(view, run, file)
    if READ in tags and LOST + FOLDER not in tags:  # it is set after the files
        yield from _test_files(view, run)


def _found_again(view: StudyView, run: Run, file: RecordedFile) -> Iterator[Finding]:
    """Finds a file that was recorded as lost, and is there again with its hash."""
    if file.is_whole():
        what, key = f"removes the tag {LOST}{file.name}", LOST + file.name
        forget = partial(view.client.delete_tag, run.info.run_id, key)
        yield Finding(f"{file.name} that is not lost", f"{view.name}: {run.info.run_name}", what, forget)


def _test_files(view: StudyView, run: Run) -> Iterator[Finding]:
    """Finds a held-out test whose files are gone; only reading the test rows again makes them."""
    run_id, subject = run.info.run_id, f"{view.name}: {run.info.run_name}"
    try:
        with mlflow_errors(f"run {run_id}: MLflow must list its files"):
            if view.client.list_artifacts(run_id, FOLDER):
                return
    except MlpSearchError as error:
        yield Finding(f"unreadable {FOLDER}", subject, f"leaves it as it is: {error}", lambda: None)
        return
    again = f"mlp-search evaluate {view.name} --again reads the test rows again"
    what = f"cannot restore it, {again}: records that in the tag {LOST}{FOLDER}"
    yield Finding(f"missing {FOLDER}", subject, what, partial(view.client.set_tag, run_id, LOST + FOLDER, "missing"))


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A file among MLflow's artifacts whose hash is recorded.

    Attributes:
        client: MLflow's client.
        folder_uri: Its folder.
        name: Its name.
        sha256: The recorded hash.
    """

    client: MlflowClient
    folder_uri: str
    name: str
    sha256: str

    def findings(self, subject: str, copies: Copies, set_lost: Callable[[str], object]) -> Iterator[Finding]:
        """Finds a missing or damaged file.

        Args:
            subject: The run or version that has the file.
            copies: Finds the home's files by their hashes.
            set_lost: Records the problem where there is no copy.
        """
        try:
            problem = self._problem()
        except MlpSearchError as error:
            yield Finding(f"unreadable {self.name}", subject, f"leaves it as it is: {error}", lambda: None)
            return
        kind = f"{problem.split(':')[0]} {self.name}"
        if problem and (copy := copies().get(self.sha256)):
            yield Finding(kind, subject, f"restores it from the copy at {copy}", partial(self._restore, copy))
        elif problem:
            what = f"cannot restore it, the home has no copy: records that in the tag {LOST}{self.name}"
            yield Finding(kind, subject, what, partial(set_lost, problem))

    def is_whole(self) -> bool:
        """Whether it is there with its hash, as far as the store says."""
        try:
            return not self._problem()
        except MlpSearchError:
            return False

    def _problem(self) -> str:
        try:
            found = sha256(read_artifact(self.client, f"{self.folder_uri}/{self.name}", self.name))
        except MlpSearchError as error:
            if self._is_listed():  # the store has it, and cannot give it now
                raise
            return f"missing: {error}"
        return "" if found == self.sha256 else f"damaged: sha256 must be {self.sha256[:12]}…, got {found[:12]}…"

    def _is_listed(self) -> bool:
        """Whether the store says that it has the file; one that does not answer raises an UnavailableError."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with mlflow_errors(f"{self.folder_uri}: MLflow must list its files"):
            files = get_artifact_repository(self.folder_uri, self.client.tracking_uri).list_artifacts()
        return any(Path(file.path).name == self.name for file in files)

    def _restore(self, copy: Path) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with TemporaryDirectory() as folder, suppress(FileNotFoundError):  # the copy is gone: the next call says so
            path = Path(folder, self.name)
            path.write_bytes(copy.read_bytes())
            get_artifact_repository(self.folder_uri, self.client.tracking_uri).log_artifact(str(path))


def find_copies(home: Path) -> Copies:
    """Finds the model files and checkpoints of a home by their hashes; they are read at the first call.

    Artifacts of deleted runs and of registered models are among them. Those that cannot be read are left out: a search
    may be moving or deleting its own.
    """

    @cache
    def copies() -> dict[str, Path]:
        found = {}
        for folder, _, names in chain(os.walk(home / "artifacts"), os.walk(home / "spool")):
            for path in (Path(folder, name) for name in names if name.endswith(".h5")):
                with suppress(OSError):
                    found[sha256(path.read_bytes())] = path
        return found

    return copies
