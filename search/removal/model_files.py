"""Deletes model files of trials that nothing needs: a study of hundreds of wide networks fills a disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import MlpSearchError
from search.finals.readings import authorship
from search.finals.winner import find_winner
from search.home.html import HtmlResult
from search.model_files import delete_model_file, model_file_size, needed_trials, versions_of
from search.optimization.leaderboard import TrialRow, leaderboard
from search.removal.access import idle_study
from search.spec.rules import as_count
from search.storage import StoredStudy

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True, slots=True)
class Pruned(HtmlResult):
    """Model files of a study that were deleted, or that would be.

    Attributes:
        study: The study's name.
        trials: Numbers of the trials whose model files they are.
        kept: Numbers of the trials that keep theirs.
        size_bytes: Size of the files together.
        deleted: Whether they were deleted.
    """

    study: str
    trials: tuple[int, ...]
    kept: tuple[int, ...]
    size_bytes: int
    deleted: bool = False


def prune_models(name: str, *, keep: int = 10, dry_run: bool = False, home: Path | None = None) -> Pruned:
    """Deletes the model files of all trials but the best ones, and those that finalists or registered models need.

    Trials, runs, metrics and histories stay. A call that was cut off is completed by the next one.

    Args:
        name: The study.
        keep: Number of the best complete trials that keep their model files.
        dry_run: Whether to delete nothing.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` by default.

    Raises:
        NotFoundError: There is no such study.
        SpecError: ``keep`` is not positive.
        UnavailableError: The study is being searched, or a database or MLflow cannot be used.
    """
    keep = as_count(keep, "--keep")
    with idle_study(name, home) as (_, study, client):
        rows = leaderboard(study)
        needed = _needed(study, rows, client, keep)
        files = list(_files(client, [row for row in rows if row.number not in needed]))
        kept = tuple(sorted(row.number for row, _ in _files(client, [row for row in rows if row.number in needed])))
        found = Pruned(name, tuple(row.number for row, _ in files), kept, sum(size for _, size in files))
        if dry_run:
            return found
        author = authorship()
        for row, _ in files:
            reason = f"deleted by prune-models --keep {keep} at {author['at']} by {author['by']}"
            delete_model_file(client, str(row.run_id), reason)
    return replace(found, deleted=True)


def _needed(study: StoredStudy, rows: list[TrialRow], client: MlflowClient, keep: int) -> set[int]:
    """Numbers of the trials that keep their model files."""
    needed = needed_trials(study.user_attrs, rows, keep)
    runs = {version.run_id for version in versions_of(client, study.study_name)}
    with suppress(MlpSearchError):  # no trial is complete, or MLflow does not have the winner's run yet, nor its file
        runs.add(find_winner(study).run_id)
    return needed | {row.number for row in rows if row.run_id in runs}


def _files(client: MlflowClient, rows: list[TrialRow]) -> Iterator[tuple[TrialRow, int]]:
    """The trials that have a model file in MLflow, each with its size; a run that was deleted there stays as it is."""
    for row in rows:
        is_active = row.run_id and client.get_run(row.run_id).info.lifecycle_stage == "active"
        size = model_file_size(client, str(row.run_id)) if is_active else None
        if size is not None:
            yield row, size
