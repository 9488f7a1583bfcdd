"""What every command that trains needs: a home, a pool, the runs of an experiment, and a Ctrl-C that ends cleanly."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import psutil

from pipelines.datasets import Dataset, load
from pipelines.errors import SpecError
from search.capacity import gpu_trial_mb
from search.pools import Pool, Slot
from search.settings import Settings, prepare_home
from search.slots import find_slots
from search.spec import StudySpec
from search.storage import FINGERPRINT, SPEC, open_storage

if TYPE_CHECKING:
    from search.runs import DatasetInput, Runs

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
        from search.pools.joining import require_ray

        require_ray()
    else:
        from search.pools.local import warm_up

        warm_up()


def open_home(settings: Settings) -> None:
    """Makes the home, once what lies outside it has answered: where that is away, nothing half-made is left.

    Raises:
        UnavailableError: The tracking server, a database or the folder cannot be used.
    """
    from search.runs import require_answer

    require_answer(settings)
    if str(settings.home) not in settings.optuna_storage:
        open_storage(settings)
    prepare_home(settings)


def study_data(study: optuna.Study, settings: Settings) -> tuple[StudySpec, Dataset]:
    """The specification of a study and its dataset.

    Raises:
        SpecError: The dataset's rows or its split changed since.
    """
    spec = StudySpec.from_json(study.user_attrs[SPEC])
    dataset = load(spec.data, settings.data_folders)
    if dataset.fingerprint != (recorded := study.user_attrs.get(FINGERPRINT)):
        raise SpecError(
            f"study {study.study_name!r}: {spec.data.source} must hold the rows that were searched on (fingerprint"
            f" {recorded}), got {dataset.fingerprint}: restore the file, or start another study"
        )
    return spec, dataset


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
        from search.pools.cluster import RayPool

        workers = spec.workers
        if workers.gpus is not None or workers.trials_per_gpu is not None:
            raise SpecError("workers.gpus and workers.trials_per_gpu: are for --pool local; with ray take --workers N")
        return RayPool(dataset, settings.ray_address, count=workers.slots, memory_mb=workers.memory_mb)
    from search.pools.local import LocalPool

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


def open_runs(settings: Settings, spec: StudySpec, dataset: Dataset) -> Runs:
    """The runs of a study's experiment."""
    from search.page import plain
    from search.runs import Runs

    searched = ", ".join(spec.space.distributions()) or "nothing, every dimension is fixed"
    description = (
        f"Search over {searched} for an MLP on **{plain(dataset.name)}**: {len(dataset.training.y)} training and"
        f" {len(dataset.validation.y)} validation rows, {dataset.n_classes} classes; the test rows are sealed."
        f" Sampler {spec.sampler}, pruner {spec.pruner}, seed {spec.seed}."
    )
    return Runs(settings, spec.name, description, dataset_input(dataset, spec.data.source))


def dataset_input(dataset: Dataset, source: str) -> DatasetInput:
    """What MLflow's page shows of a dataset."""
    from search.runs import DatasetInput

    profile = {"training_rows": len(dataset.training.y), "validation_rows": len(dataset.validation.y)}
    return DatasetInput(dataset.name, dataset.fingerprint, source, profile)


def facts(dataset: Dataset, pool: Pool) -> dict[str, Any]:
    """What a report says of a study's data and of the machine that searched it last."""
    return {
        "dataset": {
            "name": dataset.name,
            "training_rows": len(dataset.training.y),
            "validation_rows": len(dataset.validation.y),
            "features": dataset.training.x[0].size,
            "classes": dataset.n_classes,
        },
        "machine": {
            "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
            "cores": os.cpu_count(),
            "memory_mb": psutil.virtual_memory().total >> 20,
            "devices": [slot.device for slot in pool.slots],
        },
        "git_commit": git_commit(),
    }


def run_tags(dataset: Dataset) -> dict[str, str]:
    """Tags of every run: the dataset, and the code that trained it."""
    tags = {"dataset.fingerprint": dataset.fingerprint, "mlflow.source.name": "mlp-search"}
    commit = git_commit()
    return tags | ({"mlflow.source.git.commit": commit} if commit else {})


def git_commit() -> str:
    """The commit of this package's own checkout; "" where it was installed from a wheel or git is missing."""
    folder = Path(__file__).parents[1]
    command = ["git", "rev-parse", "--show-toplevel", "HEAD"]
    try:
        answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=5)
        top, _, commit = answer.stdout.strip().partition("\n")
        # An environment within a project's folder is in that project's repository.
        return commit if answer.returncode == 0 and Path(top).samefile(folder) else ""
    except (OSError, subprocess.SubprocessError):
        return ""


_SECOND_CTRL_C_S = 0.5


@contextmanager
def interruptible(interrupt: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C, or SIGTERM, calls ``interrupt``; the second ends everything at once.

    ``timeout`` and service managers send one signal twice, to the process and to its group: that counts as one.
    """
    pressed: float | None = None
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(signum: int, stack: object) -> None:  # noqa: ARG001
        nonlocal pressed
        if pressed is None:
            pressed = time.monotonic()
            interrupt()
        elif time.monotonic() - pressed > _SECOND_CTRL_C_S:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
