"""A Ray cluster of several nodes, all on this machine."""

from __future__ import annotations

from typing import Any

import psutil


class Nodes:
    """The head and the nodes that are added to it.

    Args:
        n_slots: Slots of each node that is added.
        n_head_slots: Slots of the head.
    """

    def __init__(self, n_slots: int = 2, n_head_slots: int = 2) -> None:
        from ray.cluster_utils import Cluster

        quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 3}
        head = {"num_cpus": n_head_slots, "include_dashboard": False, "_system_config": quick}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._n_slots = n_slots
        self._nodes: dict[str, Any] = {}
        self.address: str = self._cluster.address

    def add(self, name: str) -> None:
        self._nodes[name] = self._cluster.add_node(num_cpus=self._n_slots, node_name=name)

    def kill(self, name: str) -> None:
        self._cluster.remove_node(self._nodes.pop(name), allow_graceful=False)

    def cut_off(self, name: str) -> None:
        """Suspends all processes of a node: to the cluster that is a node without a network."""
        for process in self._processes(name):
            process.suspend()

    def come_back(self, name: str) -> None:
        """Resumes a node that was cut off: it learns that the cluster gave it up, ends, and joins again."""
        family = self._processes(name)
        for process in family:
            process.resume()
        family[0].wait(30)
        self.kill(name)
        self.add(name)

    def _processes(self, name: str) -> list[psutil.Process]:
        """The raylet of a node and its workers."""
        [started] = self._nodes[name].all_processes["raylet"]
        raylet = psutil.Process(started.process.pid)
        return [raylet, *raylet.children(recursive=True)]

    def keep(self, *names: str) -> None:
        """Leaves the head and these nodes, and adds those that are missing or have died."""
        dead = {name for name, node in self._nodes.items() if node.dead_processes()}
        for name in ({*self._nodes} - {*names}) | dead:
            self.kill(name)
        for name in sorted({*names} - {*self._nodes}):
            self.add(name)

    def shutdown(self) -> None:
        self._cluster.shutdown()
