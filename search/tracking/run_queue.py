"""What MLflow has yet to take: runs in progress, and errands. The tracking thread alone touches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from search.tracking.entries import Epoch, RunStart
from search.tracking.runs import Runs
from search.tracking.spool import read_entry, remove_entry


@dataclass(slots=True)
class LiveRun:
    """A run in progress.

    Attributes:
        start: What is known of it from the beginning.
        nth: How many runs of that name this process has begun, this one included.
        replace: Whether MLflow may hold one of that name from an attempt that was lost.
        run_id: Of the run in MLflow, once it is open.
        knows_params: Whether MLflow has its parameters.
        unsent: Epochs that it has not.
        ended: The entry in the spool, once training is over.
        killed: Whether it was interrupted.
        discarded: Whether nobody wants it any more.
        is_deleted: Whether somebody deleted it in MLflow.
        removed: Ids of the runs that it replaced.
    """

    start: RunStart
    nth: int
    replace: bool = False
    run_id: str | None = None
    knows_params: bool = False
    unsent: list[Epoch] = field(default_factory=list)
    ended: Path | None = None
    killed: bool = False
    discarded: bool = False
    is_deleted: bool = False
    removed: list[str] = field(default_factory=list)


class RunQueue:
    """Sends what waits; what MLflow refuses stays, behind what it might take.

    Args:
        note_opened: Called with the name, the id and the ``nth`` of a run that is open.
        note_delivered: Called when MLflow has the whole of a run that had ended.
        warn: Called with a line.

    Attributes:
        runs: Those in progress, by name.
        errands: What else is to be done.
    """

    def __init__(
        self,
        note_opened: Callable[[tuple[str, str, int]], None],
        note_delivered: Callable[[], None],
        warn: Callable[[str], None],
    ) -> None:
        self._note_opened, self._note_delivered, self._warn = note_opened, note_delivered, warn
        self.runs: dict[str, LiveRun] = {}
        self.pending_tasks: list[Callable[[Runs], None]] = []

    def __bool__(self) -> bool:
        return bool(self.runs or self.pending_tasks)

    def find(self, mlflow: Runs, run_name: str, nth: int) -> None:
        """Tells the id of a run that has ended, unless another is about to replace it."""
        if run_name in self.runs:
            return
        for run in mlflow.find(run_name)[:1]:
            self._note_opened((run_name, str(run.info.run_id), nth))

    def send(self, mlflow: Runs) -> None:
        """Sends it all, up to the first errand and the first run that are refused, and raises what refused them."""
        refused = self._run_pending_tasks(mlflow)
        for name, live in list(self.runs.items()):
            try:
                self._send_run(mlflow, name, live)
            except Exception:
                self.runs[name] = self.runs.pop(name)  # the others go first next time
                if live.run_id is None or mlflow.is_there(live.run_id):
                    raise
                live.is_deleted = True
                self._warn(f"somebody deleted the run of {name} in MLflow; its result will be a run of its own")
                continue
            if live.ended or live.killed or live.discarded:
                del self.runs[name]
        if refused:
            raise refused

    def _run_pending_tasks(self, mlflow: Runs) -> Exception | None:
        while self.pending_tasks:
            task = self.pending_tasks.pop(0)
            try:
                task(mlflow)
            except Exception as error:  # noqa: BLE001  (whatever MLflow's stores raise; runs come before it is told)
                self.pending_tasks.append(task)
                return error
        return None

    def _send_run(self, mlflow: Runs, name: str, live: LiveRun) -> None:
        if live.discarded:
            if live.run_id:
                mlflow.discard(live.run_id, live.removed)
            return
        entry = read_entry(live.ended) if live.ended else None
        if live.is_deleted:
            if not entry:
                return
            # A process that took this one for dead may train the same trial now: its run is its own to discard.
            live.run_id, live.is_deleted, live.replace, live.knows_params = None, False, False, False
            live.unsent = list(entry.history)
        if live.run_id is None:
            if live.replace:
                live.removed += mlflow.remove(name)
            live.replace = True  # an attempt that fails may leave a run behind
            live.run_id = mlflow.open(live.start)
            self._note_opened((name, live.run_id, live.nth))
        if live.unsent or entry or live.killed:
            params = {} if live.knows_params else live.start.params
            mlflow.log(live.run_id, params, live.unsent, entry)
            live.knows_params, live.unsent = True, []
        if entry and live.ended:
            mlflow.end(live.run_id, entry, live.ended)
            remove_entry(live.ended)
            self._note_delivered()
        elif live.killed:
            mlflow.client.set_terminated(live.run_id, "KILLED")
