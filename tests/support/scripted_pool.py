"""A pool that plays a script instead of training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from reports import report_of

from pipelines.training.history import EpochReport
from search.devices.slots import Slot
from search.workers.pool import Event, Failed, Finished, Gone, Lost, Ready, Reported
from search.workers.tasks import Outcome, StopReason, Task

LOST, FAILED, HANGS, DIVERGED, FULL = "lost", "failed", "hangs", "diverged", "full"

Script = Callable[[Task, int], Iterable[float | str]]
"""script(task, attempt) yields the validation accuracy of each epoch, and the incidents between epochs."""


def by_width(task: Task, attempt: int) -> Iterator[float]:
    """Accuracy grows with the width and the epochs."""
    hp = task.hyperparameters
    return (hp.width / 100 * (1 - 0.5**epoch) for epoch in range(1, hp.epochs + 1))


class ScriptedPool:
    """Implements ``search.workers.pool.Pool``.

    Attributes:
        tasks: Every task that was submitted, with the slot it went to.
    """

    def __init__(self, n_slots: int = 1, script: Script = by_width, *, per_device: int = 1) -> None:
        self.slots = [Slot(number, f"scripted:{number // per_device}") for number in range(n_slots)]
        self.tasks: list[tuple[Slot, Task]] = []
        self._script = script
        self._events: list[Event] = [Ready(slot) for slot in self.slots]
        self._plays: dict[Slot, tuple[Task, Iterator[float | str], list[EpochReport]]] = {}
        self._attempts: Counter[int] = Counter()

    def submit(self, slot: Slot, task: Task) -> None:
        assert slot not in self._plays, "a slot takes one task at a time"
        assert slot in self.slots, "a slot that is gone takes none"
        if task.exclusive:
            others = [other for other in self._plays if other.device == slot.device]
            assert not others, "an exclusive task has its device to itself"
        assert not any(other.device == slot.device and play[0].exclusive for other, play in self._plays.items())
        self.tasks.append((slot, task))
        self._attempts[task.number] += 1
        self._plays[slot] = (task, iter(self._script(task, self._attempts[task.number])), [])
        self._advance(slot)

    def _advance(self, slot: Slot) -> None:
        task, play, history = self._plays[slot]
        step = next(play, None)
        if isinstance(step, float):
            history.append(report_of(len(history) + 1, 0.5, step, 0.5, step))
            self._events.append(Reported(slot, task.number, history[-1]))
        elif step == LOST:
            self.kill(slot)
        elif step == FULL:
            self._end(slot, Failed(slot, task.number, "out of memory", "Traceback: here", out_of_memory=True))
        elif step == FAILED:
            self._end(slot, Failed(slot, task.number, "it cannot be trained", "Traceback: here"))
        elif step is None or step == DIVERGED:
            self._finish(slot, "finished" if step is None else "diverged")

    def _finish(self, slot: Slot, reason: StopReason) -> None:
        task, _, history = self._plays[slot]
        best = max(history, key=lambda report: report.metrics["val_accuracy"], default=None)
        model = b"model of %d" % task.number if best else b""
        value = best.metrics["val_accuracy"] if best else -1.0
        outcome = Outcome(
            tuple(history), best.epoch if best else 0, value, model, "abc", b"", 42, reason, 0.25, 100,
        )  # fmt: skip
        others = tuple(replace(outcome, model=b"model of seed %d" % seed) for seed in task.more_seeds)
        self._end(slot, Finished(slot, task.number, replace(outcome, others=others)))

    def _end(self, slot: Slot, event: Event) -> None:
        del self._plays[slot]
        self._events += [event, Ready(slot)]

    def answer(self, slot: Slot, epoch: int, stop: StopReason | None) -> None:
        if slot not in self._plays:
            return
        history = self._plays[slot][2]
        if stop:
            self._finish(slot, stop)
        elif epoch == len(history):
            self._advance(slot)

    def poll(self, timeout_s: float) -> list[Event]:
        events, self._events = self._events, []
        return events

    def kill(self, slot: Slot) -> None:
        task = self._plays[slot][0]
        self._end(slot, Lost(slot, task.number, f"the process of {slot.device} died"))

    def leave(self, *slots: Slot) -> None:
        """Removes slots as when their machine fails: their tasks are lost."""
        for slot in slots:
            self.slots.remove(slot)
            if slot in self._plays:
                self._events.append(Lost(slot, self._plays.pop(slot)[0].number, f"the node of {slot.device} is gone"))
            self._events.append(Gone(slot))

    def join(self, number: int) -> None:
        """Adds a slot as when a machine joins."""
        self.slots.append(Slot(number, f"scripted:{number}"))
        self._events.append(Ready(self.slots[-1]))

    def close(self) -> None:
        self._plays.clear()


class Leaving(ScriptedPool):
    """Its first device, of two slots, leaves once a task that ran out of memory waits for the whole device."""

    failed = False

    def poll(self, timeout_s: float) -> list[Event]:
        if self.failed and len(self.slots) == 3:
            self.leave(*self.slots[:2])
        events = super().poll(timeout_s)
        self.failed = any(isinstance(event, Failed) for event in events)
        return events
