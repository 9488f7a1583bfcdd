"""Compares the trials in Optuna, the runs in MLflow and the results in the spool."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from search.doctor.findings import Finding
from search.doctor.view import StudyView
from search.optimization.run_records import record_result, record_run_id
from search.optimization.studies import load_writable_study
from search.scheduling.recovery import record_runs, tell
from search.spec.rules import is_name
from search.storage.sharing import abandoned
from search.storage.stored_study import StoredStudy
from search.tracking import Entry, Tracker, now_ms
from search.tracking.entries import SILENT_MS
from search.tracking.history import read_history
from search.tracking.run_names import trial_run_name
from search.tracking.runs import status_of
from search.tracking.spool import read_entry, write_entry
from search.training.continuation import SPEC_TAG

if TYPE_CHECKING:
    from mlflow.entities import Run

ORPHAN = "ORPHAN"
"""``trial.state`` of a run whose trial Optuna does not have."""
_STATE = "trial.state"


def trial_findings(view: StudyView) -> Iterator[Finding]:
    """Compares the spool with Optuna, then Optuna with MLflow."""
    yield from _spooled(view)
    if view.study:
        yield from _left_running(view, view.study)
    if view.experiment and view.experiment.lifecycle_stage == "deleted" and (view.records or view.spooled):
        restore = partial(view.client.restore_experiment, view.experiment.experiment_id)
        yield Finding("experiment that was deleted", view.name, "restores it in MLflow with its runs", restore)
        return
    if view.experiment and view.experiment.name != view.name:
        what = "renames it back"
        if is_name(view.experiment.name):
            names = shlex.join((view.name, view.experiment.name))
            what += f"; mlp-search rename {names} renames the study instead"
        back = partial(view.client.rename_experiment, view.experiment.experiment_id, view.name)
        yield Finding("experiment with another name", f"{view.name}: {view.experiment.name}", what, back)
        return
    yield from _without_run(view)
    yield from _runs(view)


def _spooled(view: StudyView) -> Iterator[Finding]:
    for name, folder in view.spooled.items():
        kind, what = "result that MLflow does not have", "sends it to MLflow"
        if name in view.unfinished:
            kind, what = "result that Optuna does not have", "reports it to Optuna, then sends it to MLflow"
        yield Finding(kind, f"{view.name}: {name}", what, partial(deliver, view, folder))


def deliver(view: StudyView, folder: Path) -> None:
    """Sends a spool entry to Optuna, then to MLflow: a crash in between loses nothing."""
    entry = read_entry(folder)
    if view.study and entry.start.run_name in view.unfinished:
        tell(view.settings, load_writable_study(view.settings, view.name), [entry])
    elif view.study and entry.number is None:
        record_result(view.study, entry)
    with Tracker(view.open_runs, lambda _: None) as tracker:
        tracker.wait_connected()
        tracker.deliver(folder)
    if view.study and (entry.number is None or entry.start.run_name in {*view.records, *view.unfinished}):
        record_runs(view.study, tracker)


def _left_running(view: StudyView, study: StoredStudy) -> Iterator[Finding]:
    what = "requeues it: the next run trains it again with its number and its seed"
    for trial in abandoned(view.settings, study):
        name = trial_run_name(trial.number)
        if name not in view.spooled:
            yield Finding("trial left in training", f"{view.name}: {name}", what, partial(study.requeue, trial.number))


def _without_run(view: StudyView) -> Iterator[Finding]:
    for name, record in view.records.items():
        if name in view.matched or name in view.spooled:
            continue
        if left := _deleted_run(view, record):
            what, apply = "restores the run, which was deleted", partial(view.client.restore_run, left.info.run_id)
        else:
            what = "creates the run again from Optuna's data; the rest cannot be restored"
            apply = partial(_create_again, view, record)
        yield Finding("trial without a run", f"{view.name}: {name}", what, apply)


def _deleted_run(view: StudyView, record: Entry) -> Run | None:
    """The deleted run of a record, unless another attempt replaced it."""
    same = (record.start.run_name, record.tags[_STATE])
    runs = [run for run in view.deleted if (run.info.run_name, run.data.tags.get(_STATE)) == same]
    return next((run for run in view.deleted if run.info.run_id == record.run_id), next(iter(runs), None))


def _create_again(view: StudyView, record: Entry) -> None:
    deliver(view, write_entry(view.settings.spool, record, {}))


def _runs(view: StudyView) -> Iterator[Finding]:
    """Finds runs beside the one of their trial, unknown to it, with a wrong status, or without a trial."""
    records = {run.info.run_id: view.records[name] for name, run in view.matched.items()}
    for run in (run for run in view.runs if run.info.run_name not in view.spooled):
        info, record, tags = run.info, records.get(run.info.run_id), run.data.tags
        name, subject = info.run_name, f"{view.name}: {info.run_name}"
        status = status_of(record.state) if record else "KILLED"
        set_status = partial(view.client.set_terminated, info.run_id, status, info.end_time or None)
        if view.study and record and record.run_id != info.run_id:
            record_run = partial(record_run_id, view.study, name, info.run_id)
            yield Finding("trial that does not know its run", subject, "records the run in Optuna", record_run)
        if not record and name in view.matched:
            what = "deletes the run that Optuna does not know; MLflow can restore it"
            delete = partial(view.client.delete_run, info.run_id)
            yield Finding("two runs of one trial", f"{subject}, run {info.run_id}", what, delete)
        elif info.status in ("RUNNING", "SCHEDULED"):
            if record or (("study" in tags or SPEC_TAG in tags) and _is_dead(view, run)):  # not another program's
                yield Finding("run left in training", subject, f"ends it as {status}", set_status)
        elif record and info.status != status:
            yield Finding("wrong status", subject, f"sets {status}, was {info.status}", set_status)
        elif record or info.status not in ("FINISHED", "FAILED"):
            continue
        elif name in view.unfinished:
            what = "sets KILLED: the next run trains this trial again"
            yield Finding("run that is ahead of its trial", subject, what, set_status)
        elif name not in view.records and tags.get("study") == view.name and tags.get(_STATE) != ORPHAN:
            what = f"keeps it and sets its tag {_STATE} = {ORPHAN}; no trial is created for it"
            yield Finding(
                "run without a trial", subject, what, partial(view.client.set_tag, info.run_id, _STATE, ORPHAN)
            )


def _is_dead(view: StudyView, run: Run) -> bool:
    """Whether nobody trains a run: the study's lock, held here, excludes it; single trainings take no lock."""
    if view.study and not view.settings.is_shared:
        return True
    last_ms = max((epoch.at_ms for epoch in read_history(view.client, run.info.run_id, run.data.metrics)), default=0)
    return max(last_ms, run.info.start_time or 0) < now_ms() - SILENT_MS
