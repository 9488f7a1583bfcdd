"""Joins a Ray cluster, or starts Ray on this machine."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

from pipelines.errors import UnavailableError

_ANSWER_S = 5.0


def require_ray() -> Any:
    """Ray itself.

    Raises:
        UnavailableError: It is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a search tells nobody outside of it anything
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # `serve` hides GPUs itself
    try:
        import ray
    except ImportError:
        raise UnavailableError("--pool ray needs Ray, which is not installed: pip install 'mlp-search[ray]'") from None
    return ray


def connect(ray: Any, address: str | None, n_cores: int | None) -> None:
    """Makes this process a driver; from then on Ray prints nothing here.

    Args:
        ray: From ``require_ray``.
        address: ``HOST:PORT`` of the cluster's head, or ``auto``; None starts Ray.
        n_cores: Cores of a Ray that is started; None: all.

    Raises:
        UnavailableError: There is no such cluster, or it runs another Ray or Python.
    """
    if address and address != "auto":
        _require_answer(address)
    options = {"address": address} if address else {"address": "local", "num_cpus": n_cores}
    try:
        ray.init(**options, include_dashboard=False, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ConnectionError, RuntimeError, ValueError) as error:
        place = f"RAY_ADDRESS: cannot join the Ray cluster at {address}" if address else "cannot start Ray"
        raise UnavailableError(f"{place}: {' '.join(str(error).split())}") from error
    ray._private.worker._worker_logs_enabled = False  # what dies is printed past every other setting


def _require_answer(address: str) -> None:
    """Looks for a cluster at an address: Ray itself would try for minutes, and print each time."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise UnavailableError(
            f"RAY_ADDRESS: must be HOST:PORT of a cluster that this machine is a node of, or auto, got {address!r}:"
            " run this on a node, for example with `ray job submit`"
        )
    try:
        socket.create_connection((host, int(port)), _ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise UnavailableError(f"RAY_ADDRESS: no Ray cluster answers at {address}: {error}") from error
