"""The loop of a slot's process, on any machine: tasks in, epoch reports and outcomes out."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from pipelines.data.datasets import Dataset
from pipelines.errors import MlpSearchError
from search.devices.meter import Meter
from search.devices.slots import Slot
from search.workers.pool import Event, Failed, Finished, Gone, Ready, Reported
from search.workers.tasks import Outcome, StopReason, Task

if TYPE_CHECKING:
    from search.workers.trainer import StopDecision, Trainer


def serve(
    inbox: Connection, dataset: Dataset, slot: Slot, visible_devices: str, memory_limit_mb: int | None = None
) -> Iterator[Event]:
    """Trains the tasks that a pool sends, and yields the events for it.

    Args:
        inbox: Brings tasks and the answers to reports.
        dataset: The dataset of the tasks.
        slot: The slot that the events name.
        visible_devices: ``CUDA_VISIBLE_DEVICES``; "" hides every GPU.
        memory_limit_mb: The process's share of its GPU; None means no limit.

    Raises:
        EOFError: The pool has hung up.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = visible_devices or "-1"
    from search.workers import trainer  # before any other module that imports TensorFlow: it keeps that quiet

    has_gpu = trainer.configure_device(None if visible_devices else 1, memory_limit_mb)
    if visible_devices and not has_gpu:
        # To train on cores instead would be slow, and the run's device would be wrong.
        remedy = "install mlp-search[gpu], or train on cores: --gpus 0"
        yield Gone(slot, f"TensorFlow cannot use {slot.device}: {remedy}")
        return
    worker = trainer.Trainer(dataset)
    meter = Meter(visible_devices)
    yield Ready(slot)
    while True:
        task = inbox.recv()
        if isinstance(task, Task):  # else an answer that came after its task had ended
            yield from _train(worker, task, slot, meter, _answers(inbox))


def _train(trainer: Trainer, task: Task, slot: Slot, meter: Meter, decide: StopDecision) -> Iterator[Event]:
    """Trains a task; an error of the connection is raised, any other one fails this task only."""
    from search.workers.trainer import is_out_of_memory

    meter.start()
    try:
        for result in trainer.train(task, decide):
            if isinstance(result, Outcome):
                yield Finished(slot, task.number, _measured(result, meter.metrics()))
            else:
                yield Reported(slot, task.number, result)
                meter.update()
    except MlpSearchError as error:
        yield Failed(slot, task.number, str(error))
    except (EOFError, OSError):
        raise
    except Exception as error:  # noqa: BLE001  (reported with its traceback; the worker takes the next task)
        line = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        yield Failed(slot, task.number, line, traceback.format_exc(), is_out_of_memory(error))


def _measured(outcome: Outcome, metrics: Mapping[str, float]) -> Outcome:
    """An outcome, and those of the other seeds of its program, with what the program used of its device."""
    others = tuple(replace(other, device_metrics=metrics) for other in outcome.others)
    return replace(outcome, device_metrics=metrics, others=others)


def _answers(inbox: Connection) -> StopDecision:
    """Waits for the answer to an epoch, and reads those that have arrived by now."""
    answered_epoch = 0

    def decide(epoch: int) -> StopReason | None:
        nonlocal answered_epoch
        stop: StopReason | None = None
        while not stop and (answered_epoch < epoch or inbox.poll()):
            answered_epoch, stop = inbox.recv()
        return stop

    return decide
