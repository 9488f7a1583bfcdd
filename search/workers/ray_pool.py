"""An actor per slot on a Ray cluster; Ray is imported when a pool is made, not before."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.errors import UnavailableError
from search.devices.slots import Slot
from search.workers.pool import Event, Failed, Finished, Gone, Lost, Ready
from search.workers.ray_actor import SlotActor
from search.workers.ray_cluster import connect, require_ray
from search.workers.tasks import StopReason, Task
from search.workers.worker_loop import event_of, is_too_large

if TYPE_CHECKING:
    from pipelines.data.datasets import Dataset

_LOOK_S = 1.0
_MAX_STILLBORN = 5


class RayPool:
    """Keeps the contract of ``search.pools.Pool``.

    Each node of the cluster has a slot for each of its GPUs, or for each of its cores where it has no GPU. Nodes that
    join bring their slots, nodes that leave take theirs away. A slot's actor holds its GPU or core in Ray's books, so
    that others on the cluster do not get it too, and waits for it where others have it.

    Args:
        dataset: What the tasks train on; it goes once into the object store, and from there once to each node.
        address: Of the cluster's head, ``HOST:6379``; None starts Ray on this machine, to end with the pool.
        count: The most slots; an autoscaling cluster is asked to grow to them. None: what the nodes have.
        memory_mb: An actor that holds more after a task is replaced by a new one.
        patience_s: How long to wait while the cluster has no slot to give.

    Raises:
        UnavailableError: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(
        self,
        dataset: Dataset,
        address: str | None = None,
        *,
        count: int | None = None,
        memory_mb: int = 1000,
        patience_s: float = 600.0,
    ) -> None:
        self._ray = require_ray()
        self._count, self._memory_mb, self._patience_s = count, memory_mb, patience_s
        self._place = f"the Ray cluster at {address}" if address else "Ray on this machine"
        self._connected = not self._ray.is_initialized()
        if self._connected:
            connect(self._ray, address, count)
        self._seats: dict[Slot, _Seat] = {}
        self._numbers = itertools.count()
        self._next_look, self._last_sign = 0.0, time.monotonic()
        self._dataset = self._ray.put(dataset)
        self._ask_to_grow(count or 1)
        self._look_at_nodes()

    @property
    def slots(self) -> Sequence[Slot]:
        """The slots there are now."""
        return list(self._seats)

    def submit(self, slot: Slot, task: Task) -> None:
        """Starts a task in a slot that is ready."""
        seat = self._seats[slot]
        seat.number = task.number
        seat.actor.put.remote(task)

    def answer(self, slot: Slot, epoch: int, stop: StopReason | None) -> None:
        """Lets the slot's task go on after that epoch, or ends it there."""
        if slot in self._seats:
            self._seats[slot].actor.put.remote((epoch, stop))

    def poll(self, timeout_s: float) -> list[Event]:
        """What has happened since the last call; waits for the first event up to ``timeout_s``.

        Raises:
            UnavailableError: The cluster has had no slot for too long, an actor ends whenever it is started, or
                TensorFlow cannot use a GPU that Ray gave it.
        """
        events = self._look_at_nodes()
        sources = {seat.messages: seat for seat in self._seats.values()}
        if not sources:
            time.sleep(0 if events else timeout_s)
            return events
        ready, _ = self._ray.wait(list(sources), num_returns=1, timeout=0 if events else timeout_s)
        if ready:  # one has come: take along what others have
            ready, _ = self._ray.wait(list(sources), num_returns=len(sources), timeout=0)
        for source in ready:
            if self._seats.get(sources[source].slot) is sources[source]:
                events += self._receive(sources[source])
        return events

    def _receive(self, seat: _Seat) -> list[Event]:
        try:
            message = self._ray.get(next(seat.messages))
        except (self._ray.exceptions.RayError, StopIteration) as error:
            return self._replace_lost(seat, error)
        event = event_of(message, seat.slot, seat.number)
        self._last_sign, seat.n_stillborn = time.monotonic(), 0
        if isinstance(event, Gone):
            raise UnavailableError(event.message)
        if isinstance(event, Ready):
            seat.is_up = True
            if seat.number >= 0:
                return []  # a task was submitted while an idle actor was being replaced
        if not isinstance(event, Finished | Failed):
            return [event]
        seat.number = -1
        if isinstance(event, Finished) and is_too_large(seat.slot, event, self._memory_mb):
            self._ray.kill(seat.actor)
            self._start(seat.slot, seat.node)
            return [event]
        return [event, Ready(seat.slot)]

    def _replace_lost(self, seat: _Seat, error: Exception) -> list[Event]:
        self._next_look = 0.0
        if (events := self._look_at_nodes()) and seat.slot not in self._seats:
            return events  # its node is gone
        message = f"the actor of {seat.slot.device} died"
        self._ray.kill(seat.actor)  # it may only have lost its trainer
        again = self._start(seat.slot, seat.node)
        if seat.number >= 0:
            return [*events, Lost(seat.slot, seat.number, message)]
        again.n_stillborn = seat.n_stillborn + 1
        if again.n_stillborn > _MAX_STILLBORN:
            why = str(error).strip().splitlines()[-1].strip()
            raise UnavailableError(f"{message} before it could take a trial, {again.n_stillborn} times in a row: {why}")
        return events

    def _look_at_nodes(self) -> list[Event]:
        """Takes up the slots of nodes that have come, and gives up those of nodes that have gone."""
        if time.monotonic() < self._next_look:
            return []
        self._next_look = time.monotonic() + _LOOK_S
        nodes = {node["NodeID"]: node for node in self._ray.nodes() if node["Alive"]}
        events: list[Event] = []
        for seat in list(self._seats.values()):
            if seat.node not in nodes:
                del self._seats[seat.slot]
                message = f"the node of {seat.slot.device} is gone"
                events += [Lost(seat.slot, seat.number, message)] if seat.number >= 0 else []
                events.append(Gone(seat.slot))
        for node in nodes.values():
            self._take_up(node)
        if any(seat.is_up for seat in self._seats.values()):
            self._last_sign = time.monotonic()
        elif time.monotonic() - self._last_sign > self._patience_s:
            raise UnavailableError(
                f"{self._place} has had no free core or GPU for {self._patience_s:g} s: `ray status` shows who has them"
            )
        return events

    def _take_up(self, node: dict[str, Any]) -> None:
        kind = "GPU" if node["Resources"].get("GPU", 0) >= 1 else "CPU"
        taken = sum(seat.node == node["NodeID"] for seat in self._seats.values())
        for index in range(taken, int(node["Resources"].get(kind, 0))):
            if self._count is not None and len(self._seats) >= self._count:
                return
            device = f"{kind.lower()}:{index}@{node['NodeName']}"
            self._start(Slot(next(self._numbers), device), node["NodeID"])

    def _start(self, slot: Slot, node: str) -> _Seat:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        uses_gpu = slot.device.startswith("gpu")
        actor = (
            self._ray.remote(concurrency_groups={"out": 1})(SlotActor)
            .options(
                num_cpus=0 if uses_gpu else 1,
                num_gpus=1 if uses_gpu else 0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            )
            .remote(self._dataset, uses_gpu)
        )
        messages = actor.messages.options(concurrency_group="out").remote()
        self._seats[slot] = _Seat(slot, node, actor, messages)
        return self._seats[slot]

    def _ask_to_grow(self, n_slots: int) -> None:
        """Tells the autoscaler, where there is one, how many slots there shall be; 0 takes the wish back."""
        from ray.autoscaler.sdk import request_resources

        has_gpus = self._ray.cluster_resources().get("GPU", 0) >= 1
        request_resources(bundles=[{"GPU" if has_gpus else "CPU": 1}] * n_slots)

    def kill(self, slot: Slot) -> None:
        """Ends the slot's process at once; its task is reported as lost."""
        self._ray.kill(self._seats[slot].actor)

    def close(self) -> None:
        """Ends every process at once; tasks still in training are given up."""
        if not self._ray.is_initialized():
            return
        for seat in self._seats.values():
            self._ray.kill(seat.actor)
        self._seats.clear()
        self._ask_to_grow(0)
        if self._connected:
            self._ray.shutdown()


@dataclass(slots=True, eq=False)
class _Seat:
    """The searching process's end of one slot."""

    slot: Slot
    node: str
    actor: Any
    messages: Iterator[Any]
    number: int = -1
    n_stillborn: int = 0
    is_up: bool = False
