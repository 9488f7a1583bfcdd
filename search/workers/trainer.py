"""What runs in a slot: a configuration in, epoch reports and a ``.h5`` out. TensorFlow and NumPy only."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

import numpy as np
import psutil

from pipelines.native_output import quiet
from search.home.startup import importing_without

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported, or it is too late

with quiet(), importing_without("matplotlib", "pandas", "pyarrow", "scipy", "sklearn"):
    import keras  # noqa: F401  (needed by the first model that is saved; imported once in a fork server)
    import tensorflow as tf

from pipelines.data.preprocessing import Preprocessing
from pipelines.training.history import Checkpoint, EpochReport, sha256
from pipelines.training.model import build_model, load_h5, read_checkpoint, restore_model, to_h5
from pipelines.training.training import Training, TrainingRows
from search.workers.tasks import Outcome, SavedCheckpoint, StopReason, Task

OutOfMemoryError: type[Exception] = tf.errors.ResourceExhaustedError

Verdict = Callable[[int], StopReason | None]
"""verdict(epoch) waits until it is known whether training goes on after that epoch, None meaning that it does; for
epoch 0 it does not wait, and gives a stop that has come already."""


def configure_device(threads: int | None, memory_limit_mb: int | None = None) -> bool:
    """Settles how TensorFlow uses this process's device; call it before the first operation.

    Args:
        threads: Threads on a CPU; None leaves it to TensorFlow, as for a GPU.
        memory_limit_mb: This process's share of its GPU; None lets it take what it needs, bit by bit.

    Returns:
        Whether TensorFlow has a GPU.
    """
    tf.get_logger().setLevel("ERROR")  # a function for each depth and optimizer looks like needless tracing to it
    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    with quiet():
        gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        if memory_limit_mb is None:
            tf.config.experimental.set_memory_growth(gpu, True)
        else:
            share = tf.config.LogicalDeviceConfiguration(memory_limit=memory_limit_mb)
            tf.config.set_logical_device_configuration(gpu, [share])
    if gpus:
        tf.config.experimental.enable_op_determinism()
    with quiet():
        tf.zeros(())  # TensorFlow sets its devices up now, and says so
    return bool(gpus)


def train_task(
    task: Task,
    rows: TrainingRows,
    preprocessing: Preprocessing,
    report: Callable[[EpochReport], None],
    verdict: Verdict,
) -> Outcome:
    """Trains one configuration.

    While the report of an epoch is being judged the next epoch is already in training, and none after it: a slot
    does not wait for its scheduler, and where a trial ends does not depend on how quickly the scheduler answered.

    Args:
        task: The configuration.
        rows: The training and validation rows.
        preprocessing: What the saved model takes with it.
        report: Called after each epoch with a finite loss.
        verdict: Asked about each epoch before the next one counts.

    Returns:
        The outcome, cut after the epoch at which a verdict, the time or a loss that is not finite ended it.
    """
    started = time.monotonic()
    training = Training(rows, task.hyperparameters, task.seed, _start(task))
    checkpoint = training.checkpoint() if task.keep_state else None
    history: list[EpochReport] = []
    best = (0, -1.0, training.best)
    stop: StopReason | None = None
    for epoch_report in training:
        stop = verdict(history[-1].epoch) if history else None
        if not stop and not epoch_report.is_finite:
            stop = "diverged"
        if stop:
            break
        history.append(epoch_report)
        best = (training.best_epoch, training.best_val_accuracy, training.best)
        if task.keep_last:
            best = (epoch_report.epoch, epoch_report.val_accuracy, training.checkpoint().weights)
        checkpoint = training.checkpoint() if task.keep_state else None
        report(epoch_report)
        late = time.monotonic() - started + epoch_report.duration_s > task.time_left_s
        # The last epoch ends training by itself, whatever is said of it and however late it is.
        is_last = epoch_report.epoch == task.hyperparameters.epochs
        if not is_last and (stop := verdict(0) or ("timeout" if late else None)):
            break
    return _outcome(task, preprocessing, tuple(history), best, checkpoint, stop or "finished", started)


def _start(task: Task) -> Checkpoint | None:
    saved = task.start
    if not isinstance(saved, SavedCheckpoint):
        return saved
    return read_checkpoint(load_h5(saved.content, saved.sha256, "checkpoint.h5"), saved.epochs)


def _outcome(
    task: Task,
    preprocessing: Preprocessing,
    history: tuple[EpochReport, ...],
    best: tuple[int, float, Sequence[np.ndarray]],
    checkpoint: Checkpoint | None,
    stop: StopReason,
    started: float,
) -> Outcome:
    hp = task.hyperparameters
    best_epoch, best_val_accuracy, weights = best
    model = to_h5(build_model(hp, preprocessing, weights)) if best_epoch else b""
    state = to_h5(restore_model(hp, preprocessing, checkpoint)) if checkpoint else b""
    return Outcome(
        history=history,
        best_epoch=best_epoch,
        best_val_accuracy=best_val_accuracy,
        model=model,
        model_sha256=sha256(model),
        checkpoint=state,
        n_parameters=sum(weight.size for weight in weights),
        stop_reason=stop,
        duration_s=time.monotonic() - started,
        memory_mb=psutil.Process().memory_info().rss >> 20,
    )
