"""Compares each run with its trial's result: tags, parameters, metrics, epochs, and the hashes of its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeAlias

from pipelines.training.history import sha256
from search.doctor.findings import Finding
from search.doctor.view import Record, StudyView
from search.home.text import one_line
from search.tracking.entries import CHECKPOINT_FILE, MODEL_FILE, now_ms
from search.tracking.history import read_history
from search.training.continuation import CHECKPOINT_TAG, MODEL_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Copies: TypeAlias = Callable[[], dict[str, Path]]
"""Returns the files of a home by their hashes."""
LOST = "lost."
"""Prefix of the tags that record what of a run cannot be restored: ``lost.model.h5``, ``lost.history``."""
_HISTORY = LOST + "history"
_TAGS = ("trial.state", "study", "trial", "model_sha256", "dataset.fingerprint")


def content_findings(view: StudyView, copies: Copies) -> Iterator[Finding]:
    """Finds what the runs of a study lack."""
    for name, run in view.matched().items():
        yield from _figures(view, view.records[name], run)
        yield from _history(view, view.records[name], run)
    for run in view.runs:
        if "study" in run.data.tags or MODEL_TAG in run.data.tags:
            yield from _files(view, run, copies)


def _figures(view: StudyView, record: Record, run: Run) -> Iterator[Finding]:
    from mlflow.entities import Metric, Param, RunTag

    entry, run_id, subject = record.entry, run.info.run_id, f"{view.name}: {record.name}"
    log = partial(view.client.log_batch, run_id)
    wanted = {key: value for key, value in {**entry.start.tags, **entry.tags}.items() if key in _TAGS}
    if wrong := {key: str(value) for key, value in wanted.items() if run.data.tags.get(key) != str(value)}:
        what = "sets " + ", ".join(f"{key} = {value}" for key, value in wrong.items())
        yield Finding("wrong tags", subject, what, partial(log, tags=[RunTag(*tag) for tag in wrong.items()]))
    if params := [Param(k, str(v)) for k, v in entry.start.params.items() if k not in run.data.params]:
        what = "logs " + ", ".join(param.key for param in params)
        yield Finding("missing parameters", subject, what, partial(log, params=params))
    if figures := {key: value for key, value in entry.metrics.items() if run.data.metrics.get(key) != value}:

        def log_again() -> None:  # MLflow shows the value of the last step with the latest time
            step = max((epoch.step for epoch in read_history(view.client, run_id, figures)), default=0)
            log([Metric(key, value, now_ms(), step) for key, value in figures.items()])

        what = "logs " + ", ".join(f"{key} = {value:g}" for key, value in figures.items())
        yield Finding("wrong figures", subject, what, log_again)


def _history(view: StudyView, record: Record, run: Run) -> Iterator[Finding]:
    from mlflow.entities import Metric

    client, run_id = view.client, run.info.run_id
    epochs = read_history(client, run_id, record.metrics) if record.n_epochs else ()
    logged = {(key, epoch.step) for epoch in epochs for key in epoch.metrics}
    steps = range(1, record.n_epochs + 1)
    missing = {key: [step for step in steps if (key, step) not in logged] for key in record.metrics}
    gaps = {key: absent for key, absent in missing.items() if absent}
    known = {epoch.step: epoch for epoch in record.entry.history}
    points = [
        Metric("val_accuracy", known[step].metrics["val_accuracy"], known[step].at_ms, step)
        for step in gaps.get("val_accuracy", ())
        if step in known
    ]
    lost = "; ".join(f"{key} of {_listed(steps)}" for key, steps in gaps.items() if key != "val_accuracy" or not points)
    if not points and (not lost or _HISTORY in run.data.tags):
        return

    def fill() -> None:
        client.log_batch(run_id, points)
        if lost:
            client.set_tag(run_id, _HISTORY, lost)

    logs = f"logs the validation accuracy of {_listed([p.step for p in points])}" if points else ""
    notes = f"records as lost: {lost}" if lost else ""
    yield Finding("history with gaps", f"{view.name}: {record.name}", "; ".join(filter(None, (logs, notes))), fill)


def _listed(steps: list[int]) -> str:
    shown = ", ".join(map(str, steps[:5]))
    return f"epoch{'s' * (len(steps) > 1)} {shown}{f' and {len(steps) - 5} more' if len(steps) > 5 else ''}"


def _files(view: StudyView, run: Run, copies: Copies) -> Iterator[Finding]:
    """Checks the files whose hashes a run has in its tags; a trial copied from another one has no files."""
    tags, run_id = run.data.tags, run.info.run_id
    for name, tag in ((MODEL_FILE, MODEL_TAG), (CHECKPOINT_FILE, CHECKPOINT_TAG)):
        if tag in tags and "copied_from" not in tags and LOST + name not in tags:
            file = RecordedFile(view.client, run.info.artifact_uri, name, tags[tag])
            set_tag = partial(view.client.set_tag, run_id, LOST + name)
            yield from file.findings(f"{view.name}: {run.info.run_name}", copies, set_tag)


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

    def findings(
        self, subject: str, copies: Copies, set_lost: Callable[[str], object], prefix: str = ""
    ) -> Iterator[Finding]:
        """Finds a missing or damaged file.

        Args:
            subject: The run or version that has the file.
            copies: Finds the home's files by their hashes.
            set_lost: Records the problem where there is no copy.
            prefix: Begins the finding's kind.
        """
        problem = self._problem()
        kind = f"{prefix}{problem.split(':')[0]} {self.name}"
        if problem and (copy := copies().get(self.sha256)):
            yield Finding(kind, subject, f"restores it from the copy at {copy}", partial(self._restore, copy))
        elif problem:
            what = f"cannot restore it, the home has no copy: records that in the tag {LOST}{self.name}"
            yield Finding(kind, subject, what, partial(set_lost, problem))

    def _problem(self) -> str:
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        uri = f"{self.folder_uri}/{self.name}"
        try:
            with TemporaryDirectory() as folder:
                target = None if uri.startswith("file:") else folder  # a local file is read in place
                path = download_artifacts(artifact_uri=uri, dst_path=target, tracking_uri=self.client.tracking_uri)
                found = sha256(Path(path).read_bytes())
        except (MlflowException, OSError) as error:
            return f"missing: {one_line(error)}"
        return "" if found == self.sha256 else f"damaged: sha256 must be {self.sha256[:12]}…, got {found[:12]}…"

    def _restore(self, copy: Path) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with TemporaryDirectory() as folder:
            path = Path(folder, self.name)
            path.write_bytes(copy.read_bytes())
            get_artifact_repository(self.folder_uri, self.client.tracking_uri).log_artifact(str(path))


def find_copies(home: Path) -> Copies:
    """Finds the model files and checkpoints of a home by their hashes; they are read at the first call.

    Artifacts of deleted runs and of registered models are among them.
    """

    @cache
    def copies() -> dict[str, Path]:
        paths = [path for folder in ("artifacts", "spool") for path in (home / folder).rglob("*.h5")]
        return {sha256(path.read_bytes()): path for path in paths}

    return copies
