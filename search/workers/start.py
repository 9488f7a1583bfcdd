"""Starts the pool of a study: local processes or Ray actors."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from pipelines.data.datasets import Dataset
from pipelines.errors import SpecError, UnavailableError
from search.devices.memory import gpu_trial_mb
from search.devices.slots import Slot, find_slots
from search.home.settings import Settings
from search.spec.study_spec import StudySpec
from search.workers.local_pool import LocalPool, warm_up
from search.workers.pool import Pool

POOLS = ("local", "ray")


def prepare_pool(kind: str) -> None:
    """Starts what takes long and needs no dataset; refuses a pool that cannot be had.

    Raises:
        SpecError: ``kind`` is none of ``POOLS``.
        UnavailableError: Its package is not installed.
    """
    if kind not in POOLS:
        raise SpecError(f"--pool: must be {' or '.join(POOLS)}, got {kind!r}")
    if kind == "local":
        warm_up()
    elif find_spec("ray") is None:
        raise UnavailableError("--pool ray needs Ray, which is not installed: pip install 'mlp-search[ray]'")


def start_pool(kind: str, spec: StudySpec, dataset: Dataset, settings: Settings) -> Pool:
    """Starts the pool of a study, one of ``POOLS``, that trains on a dataset; the caller closes it."""
    workers = spec.workers
    if kind == "local":
        return LocalPool(dataset, local_slots(spec, dataset, settings), memory_mb=workers.memory_mb)
    require_no_gpus(spec)
    from search.workers.ray_pool import RayPool  # imports Ray, which takes seconds

    return RayPool(dataset, settings.ray_address, count=workers.slots, memory_mb=workers.memory_mb)


def require_no_gpus(spec: StudySpec) -> None:
    """Raises SpecError where a study names GPUs of this machine, which Ray's nodes do not have."""
    if spec.workers.gpus is not None or spec.workers.trials_per_gpu is not None:
        raise SpecError("workers.gpus and workers.trials_per_gpu: are for --pool local; with ray set --workers N")


def local_slots(
    spec: StudySpec, dataset: Dataset, settings: Settings, note: Callable[[str], None] = lambda _: None
) -> list[Slot]:
    """The slots of this machine that a study uses; ``note`` gets a line about each GPU that is left out.

    Raises:
        SpecError: There are no such GPUs, or too many trials are to share one.
        UnavailableError: No GPU has enough free memory.
    """
    return find_slots(spec.workers, settings.visible_devices, gpu_trial_mb(spec.space, dataset), note)
