"""Joins a Ray cluster, or starts Ray on this machine. Import Ray from here: it must not be imported before."""

from __future__ import annotations

import logging
import os
import re
import socket

from pipelines.errors import UnavailableError
from search.home.addresses import PORT

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a search sends nothing to Ray's makers
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # `serve` hides GPUs itself
# Ray prints the deaths of actors and nodes on stdout at any log level. A documented pattern of lines that are not to
# be printed stops that; Ray reads it when it is imported.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")

import ray
from ray.autoscaler.sdk import request_resources

_ANSWER_S = 5.0
# Ray does not say that a cluster refused a token, or wanted one.
_TOKENS = ": if it checks tokens, set RAY_AUTH_MODE=token, with its token in ~/.ray/auth_token or RAY_AUTH_TOKEN"


def connect(address: str | None, n_cores: int | None) -> None:
    """Makes this process a driver; from then on Ray prints nothing here.

    Args:
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
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split())
        if not address:
            raise UnavailableError(f"cannot start Ray: {reason}") from error
        advice = _TOKENS if isinstance(error, ConnectionError) else ""
        raise UnavailableError(f"RAY_ADDRESS: cannot join the Ray cluster at {address}: {reason}{advice}") from error


def _require_answer(address: str) -> None:
    """Checks that something listens at an address: Ray itself would try for minutes, and print each time."""
    if not re.fullmatch(f"[^/]+:{PORT}", address):  # sockets read a port of 65537 as 1
        raise UnavailableError(
            "RAY_ADDRESS: must be HOST:PORT of a cluster that this machine is a node of, with a port from 1 to 65535,"
            f" or auto, got {address!r}: run this on a node, for example with `ray job submit`"
        )
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _ANSWER_S).close()
    except OSError as error:
        raise UnavailableError(f"RAY_ADDRESS: no Ray cluster answers at {address}: {error}") from error


def request_slots(n_slots: int) -> None:
    """Asks the autoscaler, where there is one, for so many slots; 0 withdraws the request."""
    has_gpus = ray.cluster_resources().get("GPU", 0) >= 1
    request_resources(bundles=[{"GPU" if has_gpus else "CPU": 1}] * n_slots)
