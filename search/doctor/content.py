"""Whether a run holds what its trial came to: tags, parameters, figures, every epoch, and its files unharmed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from search.doctor.findings import Finding
from search.doctor.view import Record, StudyView
from search.home.settings import Settings
from search.home.text import one_line
from search.tracking.entries import CHECKPOINT_FILE, MODEL_FILE, now_ms
from search.training.continuation import CHECKPOINT_TAG, MODEL_TAG

LOST = "lost."
"""Begins the tags that note what of a run cannot be brought back: ``lost.model.h5``, ``lost.history``."""
_HISTORY = LOST + "history"
_TAGS = ("trial.state", "study", "trial", "model_sha256", "dataset.fingerprint")


def content_findings(view: StudyView, copies: Copies) -> Iterator[Finding]:
    """What the runs of a study lack."""
    for name, run in view.matched().items():
        if name not in view.spooled:
            yield from _figures(view, view.records[name], run)
            yield from _history(view, view.records[name], run)
    for run in view.runs:
        if "study" in run.data.tags or MODEL_TAG in run.data.tags:
            yield from _files(view, run, copies)


def _figures(view: StudyView, record: Record, run: Any) -> Iterator[Finding]:
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

        def mend() -> None:  # MLflow shows the figure of the last step, and of that the latest
            steps = {key: [p.step for p in view.client.get_metric_history(run_id, key)] for key in figures}
            log([Metric(key, value, now_ms(), max(steps[key], default=0)) for key, value in figures.items()])

        what = "logs " + ", ".join(f"{key} = {value:g}" for key, value in figures.items())
        yield Finding("wrong figures", subject, what, mend)


def _history(view: StudyView, record: Record, run: Any) -> Iterator[Finding]:
    from mlflow.entities import Metric

    client, run_id, epochs = view.client, run.info.run_id, range(1, record.n_epochs + 1)
    gaps: dict[str, list[int]] = {}
    for key in record.metrics if epochs else ():
        there = {point.step for point in client.get_metric_history(run_id, key)}
        if missing := [step for step in epochs if step not in there]:
            gaps[key] = missing
    known = {epoch.step: epoch for epoch in record.entry.history}
    points = [
        Metric("val_accuracy", known[step].metrics["val_accuracy"], known[step].at_ms, step)
        for step in gaps.get("val_accuracy", ())
        if step in known
    ]
    lost = "; ".join(f"{key} of {_listed(steps)}" for key, steps in gaps.items() if key != "val_accuracy" or not points)
    if not points and (not lost or _HISTORY in run.data.tags):
        return

    def mend() -> None:
        client.log_batch(run_id, points)
        if lost:
            client.set_tag(run_id, _HISTORY, lost)

    logs = f"logs the validation accuracy of {_listed([p.step for p in points])}" if points else ""
    notes = f"notes as lost: {lost}" if lost else ""
    yield Finding("history with gaps", f"{view.name}: {record.name}", "; ".join(filter(None, (logs, notes))), mend)


def _listed(steps: list[int]) -> str:
    shown = ", ".join(map(str, steps[:5]))
    return f"epoch{'s' * (len(steps) > 1)} {shown}{f' and {len(steps) - 5} more' if len(steps) > 5 else ''}"


def _files(view: StudyView, run: Any, copies: Copies) -> Iterator[Finding]:
    """The files whose hashes a run has on record; a trial that was copied from another has none of its own."""
    tags = run.data.tags
    for name, tag in ((MODEL_FILE, MODEL_TAG), (CHECKPOINT_FILE, CHECKPOINT_TAG)):
        sha256 = "" if "copied_from" in tags or LOST + name in tags else tags.get(tag, "")
        if sha256 and (harm := damage(view.client, f"{run.info.artifact_uri}/{name}", sha256)):
            kind = f"{harm.split(':')[0]} {name}"
            if copy := copies.find(sha256):
                what = f"puts back the copy at {copy}"
                mend = partial(put_back, view.client, run.info.artifact_uri, name, copy)
            else:
                what = f"cannot be brought back, no copy of it is left here: notes that in the tag {LOST}{name}"
                mend = partial(view.client.set_tag, run.info.run_id, LOST + name, harm)
            yield Finding(kind, f"{view.name}: {run.info.run_name}", what, mend)


def damage(client: Any, uri: str, sha256: str) -> str:
    """What is wrong with a file of MLflow's: it is missing, or not the one on record; "" where nothing is."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        with TemporaryDirectory() as folder:
            target = None if uri.startswith("file:") else folder  # a local file is read where it lies
            path = download_artifacts(artifact_uri=uri, dst_path=target, tracking_uri=client.tracking_uri)
            found = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except (MlflowException, OSError) as error:
        return f"missing: {one_line(error)}"
    return "" if found == sha256 else f"damaged: sha256 must be {sha256[:12]}…, got {found[:12]}…"


def put_back(client: Any, folder_uri: str, name: str, copy: Path) -> None:
    """Puts a file into a folder of MLflow's artifacts."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(copy.read_bytes())
        get_artifact_repository(folder_uri, client.tracking_uri).log_artifact(str(path))


class Copies:
    """The files of a home by their hashes, read once one is looked for: deleted runs keep theirs, models too."""

    def __init__(self, settings: Settings) -> None:
        self._home = settings.home
        self._found: dict[str, Path] | None = None

    def find(self, sha256: str) -> Path | None:
        """A file with that hash."""
        if self._found is None:
            paths = [path for folder in ("artifacts", "spool") for path in (self._home / folder).rglob("*.h5")]
            self._found = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in paths}
        return self._found.get(sha256)
