"""Starts the pool that a study asks for: local processes or Ray actors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipelines.data.datasets import Dataset
from pipelines.errors import SpecError
from search.devices.memory import gpu_trial_mb
from search.devices.slots import Slot, find_slots
from search.home.settings import Settings
from search.spec.study_spec import StudySpec
from search.workers.pool import Pool

if TYPE_CHECKING:
    pass


POOLS = ("local", "ray")


def prepare_pool(pool: str) -> None:
    """Refuses a pool that cannot be had; starts what takes long and needs no dataset.

    Raises:
        SpecError: There is no such pool.
        UnavailableError: Its package is not installed.
    """
    if pool not in POOLS:
        raise SpecError(f"--pool: must be {' or '.join(POOLS)}, got {pool!r}")
    if pool == "ray":
        from search.workers.ray_cluster import require_ray

        require_ray()
    else:
        from search.workers.local_pool import warm_up

        warm_up()


@contextmanager
def started_pool(kind: str, spec: StudySpec, dataset: Dataset, settings: Settings) -> Iterator[Pool]:
    """The pool of a study, one of ``POOLS``, ready to train on a dataset; its processes end with the block."""
    pool = _make_pool(kind, spec, dataset, settings)
    try:
        yield pool
    finally:
        pool.close()


def _make_pool(kind: str, spec: StudySpec, dataset: Dataset, settings: Settings) -> Pool:
    if kind == "ray":
        from search.workers.ray_pool import RayPool

        workers = spec.workers
        if workers.gpus is not None or workers.trials_per_gpu is not None:
            raise SpecError("workers.gpus and workers.trials_per_gpu: are for --pool local; with ray take --workers N")
        return RayPool(dataset, settings.ray_address, count=workers.slots, memory_mb=workers.memory_mb)
    from search.workers.local_pool import LocalPool

    return LocalPool(dataset, local_slots(spec, dataset, settings), memory_mb=spec.workers.memory_mb)


def local_slots(
    spec: StudySpec, dataset: Dataset, settings: Settings, note: Callable[[str], None] = lambda _: None
) -> list[Slot]:
    """The slots of this machine that a study asks for; ``note`` gets a line about each GPU that is left out.

    Raises:
        SpecError: There are no such GPUs, or too many trials are to share one.
        UnavailableError: No GPU has enough free memory.
    """
    workers = spec.workers
    return find_slots(
        workers.slots, settings.visible_devices, gpus=workers.gpus, trials_per_gpu=workers.trials_per_gpu,
        trial_mb=gpu_trial_mb(spec.space, dataset), note=note,
    )  # fmt: skip
