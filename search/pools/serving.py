"""The life of a slot's process, wherever it runs: tasks in, epoch reports and outcomes out."""

from __future__ import annotations

import contextlib
import os
import traceback
from typing import Any, Protocol

from pipelines.datasets import Dataset
from pipelines.errors import MlpSearchError
from pipelines.history import EpochReport
from search.pools import Failed, Finished, Ready, Reported, Slot
from search.tasks import Outcome, StopReason, Task

_READY = "ready"


class Channel(Protocol):
    """A worker's way to its pool: messages in both directions, each in its order."""

    def send(self, message: Any, /) -> None:
        """Sends to the pool."""

    def recv(self) -> Any:
        """Waits for what the pool sends; raises EOFError once it has hung up."""

    def poll(self) -> bool:
        """Whether ``recv`` would not wait."""


def serve(channel: Channel, dataset: Dataset, visible_devices: str) -> None:
    """Trains what comes, until the pool hangs up.

    Args:
        channel: Brings tasks and answers; takes what ``event_of`` reads.
        dataset: What the tasks train on.
        visible_devices: ``CUDA_VISIBLE_DEVICES``; "" hides every GPU.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = visible_devices or "-1"
    from pipelines.training import TrainingRows
    from search import worker

    worker.configure_device(None if visible_devices else 1)
    rows = TrainingRows.of(dataset)

    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        channel.send(_READY)
        while True:
            task = channel.recv()
            if not isinstance(task, Task):
                continue  # an answer that came after its task had ended by itself
            try:
                verdict = _Answers(channel)
                channel.send(worker.train_task(task, rows, dataset.preprocessing, channel.send, verdict))
            except MlpSearchError as error:
                channel.send((str(error), ""))
            except (EOFError, OSError):
                raise
            except Exception as error:  # noqa: BLE001  (one trial fails, with its traceback; the search goes on)
                line = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                channel.send((line, traceback.format_exc()))


class _Answers:
    """What the scheduler has answered to one task so far; ``train_task`` says how it is asked."""

    def __init__(self, channel: Channel) -> None:
        self._channel, self._answered = channel, 0

    def __call__(self, epoch: int) -> StopReason | None:
        stop: StopReason | None = None
        while not stop and (self._answered < epoch or self._channel.poll()):
            self._answered, stop = self._channel.recv()
        return stop


def event_of(message: Any, slot: Slot, number: int) -> Ready | Reported | Finished | Failed:
    """What a message that ``serve`` has sent tells of a slot and the task in it."""
    if message == _READY:
        return Ready(slot)
    if isinstance(message, EpochReport):
        return Reported(slot, number, message)
    if isinstance(message, Outcome):
        return Finished(slot, number, message)
    return Failed(slot, number, *message)
