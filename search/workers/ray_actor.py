"""A slot's process on a node of a Ray cluster, without Ray itself: ``cluster.py`` makes an actor of it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

from pipelines.data.datasets import Dataset
from search.workers.worker_loop import serve


class SlotActor:
    """The channel of ``serve``: one queue into its thread, one out of it.

    Args:
        dataset: What the tasks train on.
        uses_gpu: Whether Ray gave this process a GPU.
    """

    def __init__(self, dataset: Dataset, uses_gpu: bool) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; only the scheduler decides
        self._in: SimpleQueue[Any] = SimpleQueue()
        self._out: SimpleQueue[Any] = SimpleQueue()
        visible_devices = os.environ.get("CUDA_VISIBLE_DEVICES", "") if uses_gpu else ""
        threading.Thread(target=self._serve, args=(dataset, visible_devices), daemon=True).start()

    def _serve(self, dataset: Dataset, visible_devices: str) -> None:
        try:
            serve(self, dataset, visible_devices)
        except BaseException as error:  # noqa: BLE001  (`messages` raises it in the searching process)
            self.send(error)

    def messages(self) -> Iterator[Any]:
        """What ``serve`` sends, for as long as the actor lives."""
        while not isinstance(message := self._out.get(), BaseException):
            yield message
        raise message

    def put(self, message: Any) -> None:
        """Takes a task or an answer."""
        self._in.put(message)

    def send(self, message: Any) -> None:
        """For ``serve``."""
        self._out.put(message)

    def recv(self) -> Any:
        """For ``serve``."""
        return self._in.get()

    def poll(self) -> bool:
        """For ``serve``."""
        return not self._in.empty()
