"""The run that a training continues: its specification, its epochs and its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pipelines.errors import NotFoundError, SpecError
from pipelines.objectives import OBJECTIVES, epoch_metrics
from pipelines.training.history import require_sha256
from search.home.addresses import is_http
from search.home.settings import Settings
from search.home.text import one_line
from search.spec.rules import as_count
from search.spec.space import default_values
from search.tracking.connection import connect
from search.tracking.entries import CHECKPOINT_FILE, MODEL_FILE, Epoch
from search.tracking.history import read_artifact, read_history
from search.training.configuration import TrainingSpec
from search.workers.tasks import SavedCheckpoint

if TYPE_CHECKING:
    from mlflow import MlflowClient

SPEC_TAG, EPOCHS_TAG = "training", "checkpoint_epochs"
CHECKPOINT_TAG, MODEL_TAG = "checkpoint_sha256", "model_sha256"
"""Tags of a run: its configuration and data, the epochs behind its checkpoint, the hashes of its files."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A run that can be continued.

    Attributes:
        run_id: In MLflow.
        spec: The training of the run.
        fingerprint: Of its dataset.
        history: Its epochs.
        best_epoch: The epoch whose weights ``model`` has.
        best_value: Its objective; None where no epoch ended with a finite loss.
        model: The bytes of its ``model.h5``; empty where no epoch ended with a finite loss.
        checkpoint: Its last epoch.
    """

    run_id: str
    spec: TrainingSpec
    fingerprint: str
    history: tuple[Epoch, ...]
    best_epoch: int
    best_value: float | None
    model: bytes
    checkpoint: SavedCheckpoint

    def resume(self, given: Mapping[str, Any]) -> TrainingSpec:
        """Returns what to train now.

        Args:
            given: Options by name. ``epochs`` is the number of further epochs, by default those that an interruption
                left. ``source`` is where the data is now. Every other option must equal that of the run.

        Raises:
            SpecError: An option would change the run, or there is nothing left to train.
        """
        spec = self.spec
        _require_same(spec, given)
        n_done, n_planned = self.checkpoint.epochs, spec.hyperparameters.epochs
        if given.get("epochs") is None and n_done >= n_planned:
            rule = "--epochs: must be the number of further epochs"
            raise SpecError(f"{rule}: run {self.run_id} has trained all its {n_planned}")
        n_epochs = n_planned if given.get("epochs") is None else n_done + as_count(given["epochs"], "--epochs")
        hp = spec.hyperparameters
        if n_epochs != n_planned and (hp.schedule != "constant" or hp.warmup):
            how = f"a warm-up of {hp.warmup:g}" if hp.warmup else f"the schedule {hp.schedule}"
            left = f"{n_planned - n_done}, or be left out" if n_planned > n_done else "given to a new training"
            rule = f"--epochs: must be {left}, because {how} depends on the number of epochs"
            raise SpecError(f"{rule}, and run {self.run_id} was planned for {n_planned}: got {given['epochs']}")
        data = replace(spec.data, source=given.get("source") or spec.data.source)
        return replace(spec, data=data, hyperparameters=replace(spec.hyperparameters, epochs=n_epochs))


def _require_same(spec: TrainingSpec, given: Mapping[str, Any]) -> None:
    """Checks that every option has the value that it has in the run to continue."""
    recorded = asdict(spec.data) | asdict(spec.hyperparameters) | {"seed": spec.seed, "objective": spec.objective}
    recorded |= {"precision": spec.precision, "folds": 1}  # the networks of folds have no checkpoint
    default = default_values(spec.hyperparameters.optimizer)
    if spec.data.task != "regression":
        del default["loss"]
    then = {name: default.get(name) if value is None else value for name, value in recorded.items()}
    names = [name for name in given if name not in ("epochs", "source")]
    if unknown := [name for name in names if name not in then]:
        raise SpecError([f"{name}: must be an option of a training, got {given[name]!r}" for name in unknown])
    changed = [
        f"--{name.replace('_', '-')}: must be {then[name]}, as in the run to continue, got {given[name]}: leave it"
        " out, or train without --continue"
        for name in names
        if given[name] not in (None, then[name]) and (name, given[name]) != ("precision", "auto")
    ]
    if changed:
        raise SpecError(changed)


def read_earlier(settings: Settings, run_id: str) -> Earlier:
    """Reads a run of ``train`` from MLflow.

    Raises:
        NotFoundError: There is no such run, or it has no checkpoint.
        InputError: A file is not the one that the run recorded.
        UnavailableError: The tracking server does not answer.
    """
    from mlflow.exceptions import MlflowException

    if not is_http(settings.tracking_uri) and not settings.home.is_dir():
        raise NotFoundError(f"--continue: must be a run of this home, {settings.home}, which does not exist")
    client = connect(settings)
    try:
        run = client.get_run(run_id)
        tags, metrics = run.data.tags, run.data.metrics
        _require_checkpoint(run_id, tags)
        checkpoint = _read_recorded(client, run_id, CHECKPOINT_FILE, tags[CHECKPOINT_TAG])
        spec = TrainingSpec.from_json(tags[SPEC_TAG])
        objective = OBJECTIVES[spec.metric]
        return Earlier(
            run_id=run_id,
            spec=spec,
            fingerprint=tags["dataset.fingerprint"],
            history=read_history(client, run_id, _metrics(spec)),
            best_epoch=int(metrics.get("best_epoch", 0)),
            best_value=metrics.get(objective.best_key),
            model=_read_recorded(client, run_id, MODEL_FILE, tags[MODEL_TAG]) if MODEL_TAG in tags else b"",
            checkpoint=SavedCheckpoint(checkpoint, tags[CHECKPOINT_TAG], int(tags[EPOCHS_TAG])),
        )
    except MlflowException as error:
        raise NotFoundError(f"--continue: must be a run of this home: {one_line(error)}") from error


def _require_checkpoint(run_id: str, tags: Mapping[str, str]) -> None:
    if SPEC_TAG not in tags:
        raise NotFoundError(f"--continue: must be a run that train made, but {run_id} has no {CHECKPOINT_FILE}")
    if CHECKPOINT_TAG in tags:
        return
    n_folds = TrainingSpec.from_json(tags[SPEC_TAG]).data.folds or 1
    rule, reason = "must be a run that ended", "it has not ended, or it failed"
    if n_folds > 1:
        rule, reason = "must be a run with one split", f"it trained the networks of {n_folds} folds"
    raise NotFoundError(
        f"--continue: {rule}, but {run_id} has no {CHECKPOINT_FILE}, because {reason}: train without --continue"
    )


def _metrics(spec: TrainingSpec) -> tuple[str, ...]:
    with_folds = (spec.data.folds or 1) > 1
    return epoch_metrics(spec.task, spec.metric, with_folds=with_folds)


def _read_recorded(client: MlflowClient, run_id: str, name: str, recorded_sha256: str) -> bytes:
    content = read_artifact(client, f"runs:/{run_id}/{name}", f"run {run_id}, {name}")
    require_sha256(content, recorded_sha256, f"run {run_id}, {name}")
    return content
