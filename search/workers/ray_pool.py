"""An actor per slot on a Ray cluster."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import Pipe
from typing import Any

from pipelines.data.datasets import Dataset
from pipelines.errors import UnavailableError
from search.devices.precision import cpu_has_bfloat16
from search.devices.slots import Slot
from search.workers.pool import BasePool, Event, Gone, Worker
from search.workers.ray_cluster import connect, ray, request_slots
from search.workers.worker_loop import serve

_NODES_INTERVAL_S = 1.0
_ANSWER_S = 60.0
"""The longest wait for the nodes' descriptions of their processors."""
_PATIENCE_S = 600.0
"""The longest wait for the first slot, or for another one after the last has left."""


class RayPool(BasePool["_RayWorker"]):
    """Keeps the contract of ``search.workers.pool.Pool``.

    Each node of the cluster has a slot for each of its GPUs, or for each of its cores where it has no GPU. A node that
    joins adds its slots, one that leaves takes them away. A slot's actor reserves its GPU or core with Ray, so that
    no other program on the cluster gets it too, and waits for it where another program has it.

    Args:
        dataset: The dataset of the tasks; put into the object store once, and copied from there to each node once.
        address: Of the cluster's head, ``HOST:6379``; None starts Ray on this machine, to end with the pool.
        count: The most slots; an autoscaling cluster is asked to grow to them. None: what the nodes have.
        memory_mb: An actor that holds more memory after a task, beside its rows, is replaced by a new one.

    Raises:
        UnavailableError: The cluster cannot be reached.
    """

    def __init__(
        self, dataset: Dataset, address: str | None = None, *, count: int | None = None, memory_mb: int = 1000
    ) -> None:
        super().__init__(memory_mb, dataset)
        self._count = count
        self._connected = not ray.is_initialized()
        if self._connected:
            connect(address, count)
        self._numbers = itertools.count()
        self._next_look = 0.0
        self._last_use = time.monotonic()
        self._dataset = ray.put(dataset)
        request_slots(count or 1)
        self._update_nodes()

    def poll(self, timeout_s: float) -> list[Event]:
        """Returns the events since the last call; waits up to ``timeout_s`` for the first one.

        Raises:
            UnavailableError: The cluster has had no slot for too long, an actor ends whenever it is started, or
                TensorFlow cannot use a GPU that Ray gave it.
        """
        events = self._update_nodes()
        workers = {worker.messages: worker for worker in self._workers.values()}
        if not workers:
            time.sleep(0 if events else timeout_s)
            return events
        ready, _ = ray.wait(list(workers), num_returns=1, timeout=0 if events else timeout_s)
        if ready:  # take all that have come by now
            ready, _ = ray.wait(list(workers), num_returns=len(workers), timeout=0)
        for messages in ready:
            worker = workers[messages]
            if self._workers.get(worker.slot) is worker:  # an event before may have removed it with its node
                events += self._read(worker)
        return events

    def _read(self, worker: _RayWorker) -> list[Event]:
        try:
            event = ray.get(next(worker.messages))
        except (ray.exceptions.RayError, StopIteration) as error:
            self._next_look = 0.0
            events = self._update_nodes()
            if worker.slot not in self._workers:
                return events
            reason = str(error).strip().rpartition("\n")[2].strip()
            return [*events, *self._replace_dead(worker, f"the actor of {worker.slot.device} died", f": {reason}")]
        worker.is_up = True
        return self._receive(worker, event)

    def _replace(self, worker: _RayWorker) -> None:
        worker.kill()  # also after a death: it may only have lost the thread that trains
        self._start(worker.slot, worker.node)

    def _remove(self, slot: Slot, message: str) -> list[Event]:
        raise UnavailableError(message)

    def _update_nodes(self) -> list[Event]:
        """Adds the slots of nodes that have joined, and removes those of nodes that have left."""
        if time.monotonic() < self._next_look:
            return []
        self._next_look = time.monotonic() + _NODES_INTERVAL_S
        nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        events: list[Event] = []
        for worker in list(self._workers.values()):
            if worker.node not in nodes:
                del self._workers[worker.slot]
                events += [*worker.lost(f"the node of {worker.slot.device} is gone"), Gone(worker.slot)]
        for node in nodes.values():
            self._start_missing(node)
        if any(worker.is_up for worker in self._workers.values()):
            self._last_use = time.monotonic()
        elif time.monotonic() - self._last_use > _PATIENCE_S:
            raise UnavailableError(
                f"the Ray cluster has had no free core or GPU for {_PATIENCE_S:g} s: `ray status` shows who has them"
            )
        return events

    def _start_missing(self, node: dict[str, Any]) -> None:
        """Starts an actor for each GPU of a node, or each core where it has no GPU, that has none."""
        kind = "GPU" if node["Resources"].get("GPU", 0) >= 1 else "CPU"
        n_started = sum(worker.node == node["NodeID"] for worker in self._workers.values())
        for index in range(n_started, int(node["Resources"].get(kind, 0))):
            if self._count is not None and len(self._workers) >= self._count:
                return
            device = f"{kind.lower()}:{index}@{node['NodeName']}"
            self._start(Slot(next(self._numbers), device), node["NodeID"])

    def has_bfloat16(self) -> bool:
        """Whether the cores of every node that has slots multiply bfloat16 natively; False where one does not answer.

        GPUs are taken to do so.
        """
        nodes = {worker.node for worker in self._workers.values() if worker.slot.device.startswith("cpu")}
        answers = [ray.remote(num_cpus=0, scheduling_strategy=_on(node))(_has_bfloat16).remote() for node in nodes]
        try:
            return all(ray.get(answers, timeout=_ANSWER_S))
        except ray.exceptions.RayError:
            return False

    def _start(self, slot: Slot, node: str) -> None:
        resources = {"num_cpus": 0, "num_gpus": 1} if slot.device.startswith("gpu") else {"num_cpus": 1}
        actor_class = ray.remote(scheduling_strategy=_on(node), concurrency_groups={"out": 1}, **resources)(SlotActor)
        actor = actor_class.remote(self._dataset, slot)
        # `messages` trains in a thread of its own, so that the actor answers `put` meanwhile.
        messages = actor.messages.options(concurrency_group="out").remote()
        kill = functools.partial(ray.kill, actor)
        self._workers[slot] = _RayWorker(slot=slot, send=actor.put.remote, kill=kill, node=node, messages=messages)

    def close(self) -> None:
        """Ends every process at once and drops the tasks in training."""
        if not ray.is_initialized():
            return
        for worker in self._workers.values():
            worker.kill()
        self._workers.clear()
        request_slots(0)
        if self._connected:
            ray.shutdown()


def _on(node: str) -> object:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


def _has_bfloat16() -> bool:
    """Runs on a node."""
    return cpu_has_bfloat16()


@dataclass(eq=False, kw_only=True)
class _RayWorker(Worker):
    """An actor on a node; it is up once Ray had a free GPU or core for it."""

    node: str
    messages: Any
    is_up: bool = False


class SlotActor:
    """A slot's process on a node; Ray makes an actor of it.

    Args:
        dataset: The dataset of the tasks.
        slot: The slot.
    """

    def __init__(self, dataset: Dataset, slot: Slot) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; only the scheduler decides
        self._inbox, self._outbox = Pipe(duplex=False)
        self._dataset = dataset
        self._slot = slot

    def put(self, message: object) -> None:
        """Passes a task or an answer on to the thread that trains."""
        self._outbox.send(message)

    def messages(self) -> Iterator[Event]:
        """Trains the tasks, and yields the events."""
        on_gpu = self._slot.device.startswith("gpu")
        visible_devices = os.environ.get("CUDA_VISIBLE_DEVICES", "") if on_gpu else ""
        yield from serve(self._inbox, self._dataset, self._slot, visible_devices)
