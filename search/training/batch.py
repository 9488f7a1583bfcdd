"""Trains a few tasks in a pool without a study: the probes of a forecast, a single configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipelines.errors import TrainingError
from search.workers.pool import Failed, Finished, Lost, Pool, Ready, Reported
from search.workers.tasks import Outcome, StopReason, Task

_TICK_S = 0.5

Judge = Callable[[Reported], StopReason | None]
"""judge(reported) says whether a task ends after that epoch; None means it goes on."""


def train_tasks(pool: Pool, tasks: Sequence[Task], judge: Judge = lambda _: None) -> dict[int, Outcome]:
    """Trains every task once.

    Args:
        pool: Where they train.
        tasks: Each with a number of its own.
        judge: Asked about each epoch of each task.

    Returns:
        Outcomes by the tasks' numbers.

    Raises:
        TrainingError: A task failed, or its process died; the message says why.
    """
    waiting, outcomes = list(tasks), dict[int, Outcome]()
    while len(outcomes) < len(tasks):
        for event in pool.poll(_TICK_S):
            if isinstance(event, Ready) and waiting:
                pool.submit(event.slot, waiting.pop(0))
            elif isinstance(event, Reported):
                pool.answer(event.slot, event.report.epoch, judge(event))
            elif isinstance(event, Finished):
                outcomes[event.number] = event.outcome
            elif isinstance(event, Failed | Lost):
                raise TrainingError(event.message)
    return outcomes
