"""Queue of runs and tasks not yet sent to MLflow. Only the tracking thread uses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from search.tracking.entries import Epoch, RunStart
from search.tracking.runs import Runs
from search.tracking.spool import read_entry, remove_entry


class RunState(Enum):
    """The state of a run, with what is left to do in MLflow."""

    TRAINING = "open the run and log its epochs"
    ENDED = "log the result and end the run"
    KILLED = "end the run as KILLED"
    DISCARDED = "delete the run: another process has trained the same trial"


@dataclass(slots=True)
class LiveRun:
    """A run that MLflow does not have completely.

    Attributes:
        start: Its name, parameters and tags.
        nth: How many runs of that name this process had begun with it.
        replace: Whether MLflow may hold a run of that name from an earlier attempt.
        state: The remaining work.
        folder: The entry in the spool, once training has ended.
        run_id: The run in MLflow, once it is open.
        has_params: Whether MLflow has its parameters.
        unsent: Epochs not yet logged.
        replaced: Ids of the finished runs that it replaced.
    """

    start: RunStart
    nth: int = 0
    replace: bool = False
    state: RunState = RunState.TRAINING
    folder: Path | None = None
    run_id: str | None = None
    has_params: bool = False
    unsent: list[Epoch] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)


@dataclass(slots=True)
class RunQueue:
    """Sends runs and tasks to MLflow; what MLflow refuses stays in the queue, behind the others.

    Attributes:
        note_opened: Called with the name, the id and the ``nth`` of each run that was opened.
        note_delivered: Called when MLflow has a finished run completely.
        warn: Called with a message.
        runs: Runs by name.
        pending_tasks: Other calls to MLflow.
        later: Calls to MLflow, each with the names of the runs that it waits for.
        last_task: The call that comes after all runs; None where there is none.
    """

    note_opened: Callable[[tuple[str, str, int]], None]
    note_delivered: Callable[[], None]
    warn: Callable[[str], None]
    runs: dict[str, LiveRun] = field(default_factory=dict)
    pending_tasks: list[Callable[[Runs], None]] = field(default_factory=list)
    later: list[tuple[frozenset[str], Callable[[Runs], None]]] = field(default_factory=list)
    last_task: Callable[[Runs], None] | None = None

    def __bool__(self) -> bool:
        return bool(self.runs or self.pending_tasks or self.later or self.last_task)

    def log_epoch(self, run_name: str, epoch: Epoch) -> None:
        """Queues an epoch; of a run that somebody deleted in MLflow the result alone is logged."""
        if run_name in self.runs:
            self.runs[run_name].unsent.append(epoch)

    def end(self, run_name: str, folder: Path, nth: int) -> None:
        """Queues a result; if somebody deleted its run in MLflow, it is logged to a new run."""
        if run_name not in self.runs:
            self.runs[run_name] = LiveRun(read_entry(folder).start, nth)
        self.runs[run_name].folder = folder
        self.runs[run_name].state = RunState.ENDED

    def close(self, run_name: str, state: RunState) -> None:
        """Queues the end of a run without a result."""
        if run_name in self.runs:
            self.runs[run_name].state = state

    def find(self, mlflow: Runs, run_name: str, nth: int) -> None:
        """Reports the id of a finished run, unless another run is about to replace it."""
        if run_name in self.runs:
            return
        for run in mlflow.find(run_name)[:1]:
            self.note_opened((run_name, str(run.info.run_id), nth))

    def send(self, mlflow: Runs) -> None:
        """Sends everything up to the first refused task and the first refused run, and raises the error."""
        refused = self._run_pending_tasks(mlflow)
        for name, live in list(self.runs.items()):
            try:
                self._send_run(mlflow, name, live)
            except Exception:
                self.runs[name] = self.runs.pop(name)  # the others come first next time
                if live.run_id is None or live.state is RunState.DISCARDED or mlflow.is_there(live.run_id):
                    raise
                self.warn(f"somebody deleted the run of {name} in MLflow; its result will be logged to a new run")
                del self.runs[name]
                # Not before the result: a process that took this one for dead may have a run of this name by now.
                if live.folder:
                    self.end(name, live.folder, live.nth)
                continue
            if live.state is not RunState.TRAINING:
                del self.runs[name]
        if refused:
            raise refused
        for waiting in list(self.later):
            names, task = waiting
            if names.isdisjoint(self.runs):
                task(mlflow)
                self.later.remove(waiting)
        if self.last_task and not self.runs:
            self.last_task(mlflow)
            self.last_task = None

    def _run_pending_tasks(self, mlflow: Runs) -> Exception | None:
        while self.pending_tasks:
            task = self.pending_tasks.pop(0)
            try:
                task(mlflow)
            except Exception as error:  # noqa: BLE001  (MLflow's stores raise anything; it is raised after the runs)
                self.pending_tasks.append(task)
                return error
        return None

    def _send_run(self, mlflow: Runs, name: str, live: LiveRun) -> None:
        if live.state is RunState.DISCARDED:
            mlflow.discard(live.run_id, live.replaced)
            return
        entry = read_entry(live.folder) if live.folder else None
        if live.run_id is None:
            if live.replace:
                live.replaced += mlflow.remove(name)
            live.replace = True  # an attempt that fails may leave a run behind
            live.run_id = mlflow.open(live.start)
            self.note_opened((name, live.run_id, live.nth))
            if entry:
                live.unsent = list(entry.history)
        if live.unsent or live.state is not RunState.TRAINING:
            params: Mapping[str, object] = {} if live.has_params else live.start.params
            mlflow.log(live.run_id, params, live.unsent, entry)
            live.has_params = True
            live.unsent = []
        if entry and live.folder:
            mlflow.end(live.run_id, entry, live.folder)
            remove_entry(live.folder)
            self.note_delivered()
        elif live.state is RunState.KILLED:
            mlflow.kill(live.run_id)
