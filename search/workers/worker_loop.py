"""The life of a slot's process, wherever it runs: tasks in, epoch reports and outcomes out."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from pipelines.data.datasets import Dataset
from pipelines.errors import MlpSearchError
from pipelines.training.history import EpochReport
from search.devices.meter import Meter
from search.devices.slots import Slot
from search.workers.pool import Failed, Finished, Gone, Ready, Reported
from search.workers.tasks import Outcome, StopReason, Task

_READY, _NO_GPU = "ready", "no GPU"
_CUDA_HOST_MB = 4000
"""What CUDA's libraries may hold of the host's memory in each process that uses a GPU. An assumption."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a task failed, as ``Failed`` has it."""

    message: str
    traceback: str = ""
    out_of_memory: bool = False


class Channel(Protocol):
    """A worker's way to its pool: messages in both directions, each in its order."""

    def send(self, message: Any, /) -> None:
        """Sends to the pool."""

    def recv(self) -> Any:
        """Waits for what the pool sends; raises EOFError once it has hung up."""

    def poll(self) -> bool:
        """Whether ``recv`` would not wait."""


def serve(channel: Channel, dataset: Dataset, visible_devices: str, memory_limit_mb: int | None = None) -> None:
    """Trains what comes, until the pool hangs up.

    Args:
        channel: Brings tasks and answers; takes what ``event_of`` reads.
        dataset: What the tasks train on.
        visible_devices: ``CUDA_VISIBLE_DEVICES``; "" hides every GPU.
        memory_limit_mb: The process's share of its GPU; None means no limit.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = visible_devices or "-1"
    from search.workers import trainer as worker  # before anything else of TensorFlow: it keeps that quiet

    has_gpu = worker.configure_device(None if visible_devices else 1, memory_limit_mb)
    if visible_devices and not has_gpu:
        channel.send(_NO_GPU)  # to train on cores instead would be slow, and the run's device a lie
        return
    from pipelines.training.training import TrainingRows

    rows, meter = TrainingRows.of(dataset), Meter(visible_devices)

    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        channel.send(_READY)
        while True:
            task = channel.recv()
            if not isinstance(task, Task):
                continue  # an answer that came after its task had ended by itself
            meter.start()
            try:
                outcome = worker.train_task(
                    task, rows, dataset.preprocessing, _reporting(channel, meter), _Answers(channel)
                )
                channel.send(replace(outcome, usage=meter.metrics()))
            except MlpSearchError as error:
                channel.send(_Failure(str(error)))
            except (EOFError, OSError):
                raise
            except Exception as error:  # noqa: BLE001  (one trial fails, with its traceback; the search goes on)
                line = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                is_full = isinstance(error, worker.OutOfMemoryError)
                channel.send(_Failure(line, traceback.format_exc(), is_full))


def _reporting(channel: Channel, meter: Meter) -> Callable[[EpochReport], None]:
    def report(epoch_report: EpochReport) -> None:
        channel.send(epoch_report)
        meter.look()

    return report


class _Answers:
    """What the scheduler has answered to one task so far; ``train_task`` says how it is asked."""

    def __init__(self, channel: Channel) -> None:
        self._channel, self._answered = channel, 0

    def __call__(self, epoch: int) -> StopReason | None:
        stop: StopReason | None = None
        while not stop and (self._answered < epoch or self._channel.poll()):
            self._answered, stop = self._channel.recv()
        return stop


def is_too_large(slot: Slot, event: Finished, memory_mb: int) -> bool:
    """Whether a worker holds so much after a task that a new one is to take its place."""
    return event.outcome.memory_mb > memory_mb + (_CUDA_HOST_MB if slot.device.startswith("gpu") else 0)


def event_of(message: Any, slot: Slot, number: int) -> Ready | Reported | Finished | Failed | Gone:
    """What a message that ``serve`` has sent tells of a slot and the task in it."""
    if message == _NO_GPU:
        return Gone(slot, f"TensorFlow cannot use {slot.device}: install mlp-search[gpu], or train on cores: --gpus 0")
    if message == _READY:
        return Ready(slot)
    if isinstance(message, EpochReport):
        return Reported(slot, number, message)
    if isinstance(message, Outcome):
        return Finished(slot, number, message)
    return Failed(slot, number, message.message, message.traceback, message.out_of_memory)
