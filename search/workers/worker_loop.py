"""What runs in a slot's process, wherever it is: tasks in, epoch reports and outcomes out."""

from __future__ import annotations

import contextlib
import os
import traceback
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from pipelines.data.datasets import Dataset
from pipelines.errors import MlpSearchError
from pipelines.training.history import EpochReport
from search.devices.meter import Meter
from search.devices.slots import Slot
from search.workers.pool import Failed, Finished, Gone, Ready, Reported
from search.workers.tasks import StopReason, Task

if TYPE_CHECKING:
    from search.workers.trainer import Trainer


def serve(
    connection: Connection, dataset: Dataset, slot: Slot, visible_devices: str, memory_limit_mb: int | None = None
) -> None:
    """Trains the tasks that a pool sends, until the pool hangs up.

    Args:
        connection: Brings tasks and answers, and takes events.
        dataset: What the tasks train on.
        slot: The slot that the events name.
        visible_devices: ``CUDA_VISIBLE_DEVICES``; "" hides every GPU.
        memory_limit_mb: The process's share of its GPU; None means no limit.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = visible_devices or "-1"
    from search.workers import trainer  # before any other module that imports TensorFlow: it keeps that quiet

    has_gpu = trainer.configure_device(None if visible_devices else 1, memory_limit_mb)
    if visible_devices and not has_gpu:
        # To train on cores instead would be slow, and the run's device would be wrong.
        remedy = "install mlp-search[gpu], or train on cores: --gpus 0"
        connection.send(Gone(slot, f"TensorFlow cannot use {slot.device}: {remedy}"))
        return
    worker = _Worker(connection, slot, trainer.Trainer(dataset), Meter(visible_devices))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        connection.send(Ready(slot))
        while True:
            task = connection.recv()
            if isinstance(task, Task):  # else an answer that came after its task had ended
                connection.send(worker.train(task))


class _Worker:
    """Trains one task after the other, and asks the scheduler after each epoch.

    Args:
        connection: Takes reports and brings the answers to them.
        slot: The slot.
        trainer: Trains.
        meter: Measures what a task uses of the device.
    """

    def __init__(self, connection: Connection, slot: Slot, trainer: Trainer, meter: Meter) -> None:
        self._connection = connection
        self._slot = slot
        self._trainer = trainer
        self._meter = meter
        self._answered_epoch = 0

    def train(self, task: Task) -> Finished | Failed:
        """Trains a task; an error of the connection is raised, any other one fails this task only."""
        from search.workers.trainer import OutOfMemoryError

        def report(epoch_report: EpochReport) -> None:
            self._connection.send(Reported(self._slot, task.number, epoch_report))
            self._meter.update()

        self._answered_epoch = 0
        self._meter.start()
        try:
            outcome = self._trainer.train(task, report, self._decide)
            return Finished(self._slot, task.number, replace(outcome, device_metrics=self._meter.metrics()))
        except MlpSearchError as error:
            return Failed(self._slot, task.number, str(error))
        except (EOFError, OSError):
            raise
        except Exception as error:  # noqa: BLE001  (reported with its traceback; the worker takes the next task)
            line = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            is_out_of_memory = isinstance(error, OutOfMemoryError)
            return Failed(self._slot, task.number, line, traceback.format_exc(), is_out_of_memory)

    def _decide(self, epoch: int) -> StopReason | None:
        """A ``StopDecision``: waits for the answer to an epoch, and reads those that have arrived by now."""
        stop: StopReason | None = None
        while not stop and (self._answered_epoch < epoch or self._connection.poll()):
            self._answered_epoch, stop = self._connection.recv()
        return stop
