"""Ctrl-C, SIGTERM and SIGHUP: the first asks for an orderly end, the second ends the process at once."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SECOND_CTRL_C_S = 0.5


@contextmanager
def interruptible(interrupt: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP calls ``interrupt``; a second one raises KeyboardInterrupt.

    ``timeout`` and service managers send one signal twice, to the process and to its group: two signals within
    half a second count as one.
    """
    pressed: float | None = None
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(signum: int, stack: object) -> None:  # noqa: ARG001
        nonlocal pressed
        if pressed is None:
            pressed = time.monotonic()
            interrupt()
        elif time.monotonic() - pressed > _SECOND_CTRL_C_S:
            raise KeyboardInterrupt

    with signal_handler(handle):
        yield


@contextmanager
def signal_handler(handle: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Handles Ctrl-C, SIGTERM and SIGHUP inside the block.

    Ctrl-C is handled also where a shell started the program with SIGINT ignored, SIGHUP not where ``nohup`` did.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
