"""The time that slots wait for results that the virtual clock needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from search.devices.slots import Slot


class Waits:
    """Measures the waits of slots.

    Args:
        now: Seconds since some moment.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._since: dict[int, float] = {}
        self._ended_s = 0.0
        self._first: float | None = None

    def train(self, slot: int) -> float:
        """A slot takes a trial; returns for how many seconds it waited."""
        self._first = self._now() if self._first is None else self._first
        return self.end(slot)

    def begin(self, slot: int, in_s: float = 0.0) -> None:
        """A slot waits from now on, or has work for some seconds yet; once it waits, this changes nothing."""
        self._since.setdefault(slot, self._now() + in_s)

    def end(self, slot: int) -> float:
        """A slot waits no more; returns for how many seconds it did."""
        waited_s = max(0.0, self._now() - self._since.pop(slot)) if slot in self._since else 0.0
        self._ended_s += waited_s
        return waited_s

    def mark(self, slots: Iterable[Slot], *, waits: bool) -> None:
        """Says of free slots whether they wait."""
        for slot in slots:
            if waits:
                self.begin(slot.number)
            else:
                self.end(slot.number)

    @property
    def total_s(self) -> float:
        """Seconds that all slots have waited so far."""
        now = self._now()
        return self._ended_s + sum(max(0.0, now - since) for since in self._since.values())

    def share(self, n_slots: int) -> float:
        """The share of the time of so many slots, since the first trial began."""
        passed_s = 0.0 if self._first is None else n_slots * (self._now() - self._first)
        return self.total_s / passed_s if passed_s > 0 else 0.0
