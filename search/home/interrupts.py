"""Ctrl-C, SIGTERM and SIGHUP: the first asks for an orderly end, the second ends the process at once."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ONE_SIGNAL_S = 0.5
"""Signals within that time count as one: ``timeout`` and service managers send one to the process and to its group."""


@contextmanager
def interruptible(interrupt: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP calls ``interrupt``; a second one raises KeyboardInterrupt."""
    pressed: float | None = None
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(signum: int, stack: object) -> None:  # noqa: ARG001
        nonlocal pressed
        if pressed is None:
            pressed = time.monotonic()
            interrupt()
        elif time.monotonic() - pressed > _ONE_SIGNAL_S:
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


def end_at_signals() -> None:
    """Lets SIGTERM and SIGHUP end a command as Ctrl-C does; one that is ignored stays so, as SIGHUP under ``nohup``."""
    ended_s = -math.inf

    def end(signum: int, stack: object) -> None:  # noqa: ARG001
        nonlocal ended_s
        if time.monotonic() - ended_s > _ONE_SIGNAL_S:
            ended_s = time.monotonic()
            raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
