"""A Ray cluster of several nodes, all on this machine."""

from __future__ import annotations

from typing import Any


class Nodes:
    """The head is one of them.

    Args:
        n_slots: Of each node that is added.
        n_head_slots: Of the head.
    """

    def __init__(self, n_slots: int = 2, n_head_slots: int = 2) -> None:
        from ray.cluster_utils import Cluster

        quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 3}
        head = {"num_cpus": n_head_slots, "_system_config": quick}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._n_slots = n_slots
        self._nodes: dict[str, Any] = {}
        self.address: str = self._cluster.address

    def add(self, name: str) -> None:
        self._nodes[name] = self._cluster.add_node(num_cpus=self._n_slots, node_name=name)

    def kill(self, name: str) -> None:
        self._cluster.remove_node(self._nodes.pop(name), allow_graceful=False)

    def keep(self, *names: str) -> None:
        """Leaves the head and these, and adds what of them is missing or has died."""
        dead = {name for name, node in self._nodes.items() if node.dead_processes()}
        for name in ({*self._nodes} - {*names}) | dead:
            self.kill(name)
        for name in sorted({*names} - {*self._nodes}):
            self.add(name)

    def shutdown(self) -> None:
        self._cluster.shutdown()
