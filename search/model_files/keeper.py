"""Deletes, while a study is searched, the model files of trials that are not among the best ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from search.home.text import counted
from search.model_files.deletion import delete_model_file, model_file_size, versions_of
from search.model_files.needed import has_model_file, needed_trials
from search.optimization.leaderboard import leaderboard
from search.storage.stored_study import StoredStudy
from search.tracking import Tracker
from search.tracking.entries import LOST, MODEL_FILE
from search.tracking.history import all_runs
from search.tracking.run_names import trial_run_name
from search.tracking.runs import Runs

if TYPE_CHECKING:
    from mlflow.entities import Run

_PARTS = 100
_FEW = 30
"""So many runs are searched by their names; of more, all runs of the experiment are read."""


class ModelKeeper:
    """Keeps the model files of the best trials of a study, for ``[search] keep_models``.

    It chooses in the thread of the search, and deletes in the tracking thread, once MLflow has the files.

    Args:
        study: The study.
        tracker: Sends runs to MLflow.
        keep: Number of the best trials that keep their model files; None keeps all.

    Attributes:
        n_deleted: Number of the files that were deleted.
        size_bytes: Their size together.
    """

    def __init__(self, study: StoredStudy, tracker: Tracker, keep: int | None) -> None:
        self._study = study
        self._tracker = tracker
        self._keep = keep
        self._n_seen = 0
        self._chosen: set[int] = set()
        self._n_handled = 0
        self.n_deleted = 0
        self.size_bytes = 0

    def beat(self, n_ended: int) -> None:
        """Deletes files once more trials than keep theirs have ended since: about twice as many lie there at most.

        Reading the leaderboard takes longer the more trials there are, so that it is read for a hundredth of them.

        Args:
            n_ended: Number of trials that have ended.
        """
        if self._keep is not None and n_ended - self._n_seen > max(self._keep, n_ended // _PARTS):
            self._n_seen = n_ended
            self.prune()

    def prune(self) -> None:
        """Deletes the files that nothing needs, of trials that have ended by now."""
        if self._keep is None:
            return
        needed = needed_trials(self._study.user_attrs, leaderboard(self._study), self._keep)
        trials = self._study.get_trials(deepcopy=False)
        numbers = {trial.number for trial in trials if has_model_file(trial)} - needed - self._chosen
        self._chosen |= numbers
        if numbers:
            names = {trial_run_name(number) for number in numbers}
            self._tracker.after(names, partial(self._delete, names))

    def report(self, note: Callable[[str], None]) -> None:
        """Notes what was deleted, in a line; nothing where nothing was."""
        if line := self._line():
            note(line)

    def _line(self) -> str:
        setting = f"[search] keep_models = {self._keep}"
        if left := len(self._chosen) - self._n_handled:
            still = f"{counted(left, 'model file')} beyond {setting} may still be in MLflow"
            return f"{still}: the next run of the study deletes them"
        size = f"{self.size_bytes / 1e6:,.1f} MB"
        return f"deleted {counted(self.n_deleted, 'model file')}, {size}, by {setting}" if self.n_deleted else ""

    def _delete(self, names: Collection[str], mlflow: Runs) -> None:
        """Deletes the files of runs, those of registered models excepted; a call after an error continues."""
        registered = {version.run_id for version in versions_of(mlflow.client, self._study.study_name)}
        at = datetime.now(UTC).isoformat(timespec="seconds")
        for run in _named(mlflow, names):
            run_id = str(run.info.run_id)
            if run_id in registered or LOST + MODEL_FILE in run.data.tags:
                continue
            size = model_file_size(mlflow.client, run_id)
            if size is not None:
                delete_model_file(mlflow.client, run_id, f"deleted by keep_models = {self._keep} at {at}")
                self.n_deleted += 1
                self.size_bytes += size
        self._n_handled += len(names)


def _named(mlflow: Runs, names: Collection[str]) -> Iterator[Run]:
    """The runs of some names that were not deleted."""
    if len(names) <= _FEW:
        for name in names:
            yield from mlflow.find(name)
        return
    runs = all_runs(mlflow.client, [mlflow.experiment_id], with_deleted=False)
    yield from (run for run in runs if run.info.run_name in names)
