"""One configuration on one dataset: one training, one run in MLflow, no study."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.config import layers
from pipelines.data.datasets import Dataset, load
from pipelines.errors import SpecError, TrainingError, UnavailableError
from pipelines.training.history import sha256
from search.devices.memory import require_fit
from search.devices.slots import find_slots
from search.home.interrupts import interruptible
from search.home.locks import study_lock
from search.home.settings import Settings, read_settings
from search.optimization.leaderboard import TrialRow
from search.optimization.provenance import dataset_input, run_tags
from search.scheduling.progress import Observer
from search.tracking.entries import CHECKPOINT_FILE, MODEL_FILE, Entry, Epoch, RunStart, now_ms
from search.tracking.experiment_view import plain
from search.tracking.home import open_home
from search.tracking.run_names import training_run_name
from search.tracking.runs import Runs
from search.tracking.spool import entries, write_entry
from search.tracking.tracker import Tracker
from search.training.batch import train_tasks
from search.training.configuration import TrainingSpec
from search.training.continuation import CHECKPOINT_TAG, EPOCHS_TAG, MODEL_TAG, SPEC_TAG, Earlier, read_earlier
from search.workers.local_pool import LocalPool, warm_up
from search.workers.pool import Reported
from search.workers.tasks import Outcome, StopReason, Task

_HURRY_S = 2.0  # what MLflow still gets where training ended by an error or a second Ctrl-C


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training came to.

    Attributes:
        row: As in a leaderboard; its number is 0. Epochs count from the first run where this one goes on from another.
        stop_reason: Why it ended: finished, interrupted, or diverged where the loss was no longer a number.
        undelivered: Runs that MLflow has not taken yet; they wait in the spool.
    """

    row: TrialRow
    stop_reason: StopReason
    undelivered: int = 0


def train_once(spec: TrainingSpec, *, home: Path | None = None, observer: Observer | None = None) -> TrainingResult:
    """Trains one configuration and logs it as a run of the experiment ``train-SOURCE``.

    The run has ``model.h5``, the best epoch's weights, and ``checkpoint.h5``, the last epoch's with the optimizer's
    state, which ``continue_training`` goes on from.

    Args:
        spec: The configuration and its data.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` where it is not given.
        observer: Watches; nobody does where it is not given.

    Returns:
        What it came to. Ctrl-C ends it after the epoch in training.

    Raises:
        DataError: The dataset cannot be used.
        TrainingError: It cannot be trained; the run is there, FAILED.
        UnavailableError: The tracking server or the home cannot be used.
    """
    return _Run(spec, read_settings(home), observer or Observer(), None).train()


def continue_training(
    run_id: str,
    *,
    home: Path | None = None,
    observer: Observer | None = None,
    **given: Any,
) -> TrainingResult:
    """Goes on exactly where a run of ``train_once`` stopped: five epochs and five more are ten.

    The new run has the earlier one's epochs too, and the best weights of all of them.

    Args:
        run_id: The run in MLflow.
        home: As for ``train_once``.
        observer: As for ``train_once``.
        **given: ``epochs``, how many more; without it, those that an interruption left. Anything else has to be as
            it was.

    Raises:
        NotFoundError: There is no such run, or it has no checkpoint.
        SpecError: An option or the data is not the run's.
        InputError: A file of the run was changed.
        DataError, TrainingError, UnavailableError: As for ``train_once``.
    """
    settings = read_settings(home)
    earlier = read_earlier(settings, run_id)
    return _Run(earlier.go_on(given), settings, observer or Observer(), earlier).train()


class _Run:
    """One training, from its data to the end of its run."""

    def __init__(self, spec: TrainingSpec, settings: Settings, observer: Observer, earlier: Earlier | None) -> None:
        self._spec, self._settings, self._observer, self._earlier = spec, settings, observer, earlier
        self._slot = find_slots(1, settings.visible_devices)[0]
        self._interrupted = threading.Event()
        self._epochs: list[Epoch] = []

    def train(self) -> TrainingResult:
        warm_up()
        dataset = load(self._spec.data, self._settings.data_folders)
        require_fit(self._spec.hyperparameters, dataset, [self._slot])
        if self._earlier and self._earlier.fingerprint != dataset.fingerprint:
            raise SpecError(
                f"{dataset.name}: must hold the rows that run {self._earlier.run_id} was trained on, got others: they"
                " were changed since, or are split another way"
            )
        open_home(self._settings)
        parts = layers(self._spec.hyperparameters, dataset.training.x[0].size, dataset.n_classes)
        self._observer.begin(parts)
        start = self._run_start(dataset, sum(layer.n_parameters for layer in parts))
        with ExitStack() as stack:
            left = self._left_by_others(stack)
            tracker = Tracker(lambda: self._open_runs(dataset), self._observer.note)
            stack.callback(tracker.close, _HURRY_S)
            pool = stack.enter_context(closing(LocalPool(dataset, [self._slot])))
            tracker.wait_connected()
            for folder in left:
                tracker.deliver(folder)
            return self._train(start, tracker, pool)

    def _left_by_others(self, stack: ExitStack) -> list[Path]:
        """Results that no running process is about to deliver."""
        try:
            own = stack.enter_context(study_lock(self._settings, self._spec.experiment))
        except UnavailableError:
            return []
        return [] if own.process_index else list(entries(self._settings.spool, self._spec.experiment))

    def _open_runs(self, dataset: Dataset) -> Runs:
        description = (
            f"Single trainings on **{plain(dataset.name)}**; a checkpoint.h5 is what `--continue` goes on from."
        )
        source = dataset_input(dataset, self._spec.data.source)
        return Runs(self._settings, self._spec.experiment, description, source)

    def _run_start(self, dataset: Dataset, n_parameters: int) -> RunStart:
        params = asdict(self._spec.hyperparameters) | {"seed": self._spec.seed, "n_parameters": n_parameters}
        tags = {"device": self._slot.device, SPEC_TAG: self._spec.to_json(), **run_tags(dataset)}
        if self._earlier:
            tags["continued_from"] = self._earlier.run_id
        name = training_run_name()
        return RunStart(self._spec.experiment, name, now_ms(), params, tags)

    def _train(self, start: RunStart, tracker: Tracker, pool: LocalPool) -> TrainingResult:
        earlier = self._earlier
        tracker.open(start)
        for epoch in earlier.history if earlier else ():
            self._log(replace(epoch, at_ms=start.started_ms), start, tracker)

        def judge(event: Reported) -> StopReason | None:
            self._log(Epoch.of(event.report), start, tracker)
            self._observer.epoch(event.report)
            return "interrupted" if self._interrupted.is_set() else None

        checkpoint = earlier.checkpoint if earlier else None
        task = Task(0, self._spec.hyperparameters, self._spec.seed, start=checkpoint, keep_state=True)
        try:
            with interruptible(self._interrupted.set):
                outcome = train_tasks(pool, [task], judge)[0]
        except TrainingError as error:
            self._fail(start, tracker, str(error))
            raise
        except BaseException:
            tracker.kill(start.run_name)
            raise
        return self._finish(start, tracker, outcome)

    def _log(self, epoch: Epoch, start: RunStart, tracker: Tracker) -> None:
        self._epochs.append(epoch)
        tracker.log_epoch(start.run_name, epoch)

    def _finish(self, start: RunStart, tracker: Tracker, outcome: Outcome) -> TrainingResult:
        best_epoch, best_value, model = self._best(outcome)
        if not best_epoch and outcome.stop_reason == "diverged":
            message = "the loss was not a number in the first epoch: lower --learning-rate, or scale the inputs"
            self._fail(start, tracker, message)
            raise TrainingError(message)
        state = "INTERRUPTED" if outcome.stop_reason == "interrupted" else "COMPLETE"
        metrics = {"duration_s": round(outcome.duration_s, 3), **outcome.device_metrics}
        if best_epoch:
            metrics |= {"best_val_accuracy": best_value, "best_epoch": best_epoch}
        tags = {"stop_reason": outcome.stop_reason, CHECKPOINT_TAG: sha256(outcome.checkpoint)}
        n_epochs = (self._earlier.checkpoint.epochs if self._earlier else 0) + len(outcome.history)
        tags |= {EPOCHS_TAG: str(n_epochs)} | ({MODEL_TAG: sha256(model)} if model else {})
        files = {MODEL_FILE: model, CHECKPOINT_FILE: outcome.checkpoint}
        undelivered, run_id = self._deliver(start, tracker, state, metrics, tags, files)
        row = TrialRow(
            number=0,
            state=state,
            value=best_value if best_epoch else None,
            params=asdict(self._spec.hyperparameters),
            best_epoch=best_epoch or None,
            epochs_trained=n_epochs,
            duration_s=metrics["duration_s"],
            device=self._slot.device,
            run_id=run_id,
        )
        return TrainingResult(row, outcome.stop_reason, undelivered)

    def _best(self, outcome: Outcome) -> tuple[int, float, bytes]:
        """The best epoch of this run and the earlier one, the earliest of equals, as training itself has it."""
        earlier = self._earlier
        if earlier and earlier.best_epoch and earlier.best_val_accuracy >= outcome.best_val_accuracy:
            return earlier.best_epoch, earlier.best_val_accuracy, earlier.model
        return outcome.best_epoch, outcome.best_val_accuracy, outcome.model

    def _fail(self, start: RunStart, tracker: Tracker, message: str) -> None:
        self._deliver(start, tracker, "FAIL", {}, {"stop_reason": "failed", "message": message}, {})

    def _deliver(
        self,
        start: RunStart,
        tracker: Tracker,
        state: str,
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        files: Mapping[str, bytes],
    ) -> tuple[int, str | None]:
        """Spools the run and waits for MLflow; how many runs it lacks, and this one's id."""
        entry = Entry(start, now_ms(), state, None, {}, tuple(self._epochs), metrics, tags)
        tracker.end(start.run_name, write_entry(self._settings.spool, entry, files))
        undelivered = tracker.close()
        return undelivered, dict(tracker.opened()).get(start.run_name)
