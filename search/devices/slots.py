"""The slots of this machine: its GPUs or shares of them, or its cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from pipelines.errors import SpecError, UnavailableError
from pipelines.resources import count_cores
from search.devices.gpus import Gpu, find_gpus, is_number, named_by, split_entries
from search.spec.study_spec import WorkerSettings

CONTEXT_MB = 600
"""GPU memory of a process beside TensorFlow's own: CUDA's context and libraries. On an H100: 530 to 600 MB."""
_LEAST_SHARE_MB = 64


@dataclass(frozen=True, slots=True)
class Slot:
    """A place where one trial trains at a time.

    Attributes:
        number: From 0.
        device: The name of its device, as in a run's tag ``device``: ``cpu:0``, ``gpu:0``.
        visible_devices: ``CUDA_VISIBLE_DEVICES`` of the slot's process; "" hides every GPU.
        memory_limit_mb: Its share of a GPU that other slots have too; None means no limit.
    """

    number: int
    device: str
    visible_devices: str = ""
    memory_limit_mb: int | None = None


def find_slots(
    workers: WorkerSettings,
    visible_devices: str | None,
    trial_mb: int = 0,
    note: Callable[[str], None] = lambda _: None,
) -> list[Slot]:
    """One slot for each GPU, share of a GPU, or core where no GPU is used.

    Args:
        workers: How many slots; which GPUs; how many trials share one. Where there are fewer GPUs than slots, slots
            share them in turn.
        visible_devices: The user's ``CUDA_VISIBLE_DEVICES``: indexes or UUIDs; None where it is not set.
        trial_mb: Forecast of the GPU memory of the largest trial.
        note: Called with a line about each GPU that is left out, and about a setting without effect.

    Raises:
        SpecError: There are no such GPUs, or a share of one would be too small.
        UnavailableError: No GPU has enough free memory.
    """
    chosen = _choose(find_gpus(visible_devices), workers.gpus)
    if not chosen:
        if workers.trials_per_gpu is not None:
            given = f"workers.trials_per_gpu = {workers.trials_per_gpu!r}"
            sets = "workers.slots (--workers) sets how many trials train at the same time"
            note(f"no GPU is used, so {given} has no effect: {sets}")
        return [Slot(number, f"cpu:{number}") for number in range(workers.slots or count_cores())]
    usable = _with_memory(chosen, trial_mb, note)
    if workers.trials_per_gpu is None:
        gpu_of_slot = [usable[n % len(usable)] for n in range(workers.slots or len(usable))]
    else:
        n_trials = {gpu: _trials_on(gpu, workers.trials_per_gpu, trial_mb, len(usable)) for gpu in usable}
        turns = range(max(n_trials.values()))
        gpu_of_slot = [gpu for turn in turns for gpu in usable if turn < n_trials[gpu]][: workers.slots]
    return [Slot(n, gpu.device, gpu.uuid, _share_mb(gpu, gpu_of_slot.count(gpu))) for n, gpu in enumerate(gpu_of_slot)]


def _choose(gpus: list[Gpu], choice: int | str | None) -> list[Gpu]:
    """The user's choice among the visible GPUs: a number of them, or a list of indexes and UUIDs."""
    if choice is None:
        return gpus
    usable = ", ".join(gpu.device for gpu in gpus) or "none"
    if is_number(str(choice)):
        if int(choice) > len(gpus):
            raise SpecError(f"workers.gpus (--gpus): must be at most the GPUs that can be used, {usable}, got {choice}")
        return gpus[: int(choice)]
    named = {entry: named_by(entry, gpus) for entry in split_entries(str(choice))}
    for entry, found in named.items():
        if not found:
            raise SpecError(f"workers.gpus (--gpus): must name GPUs that can be used, {usable}, got {entry}")
    return list(dict.fromkeys(chain.from_iterable(named.values())))


def _with_memory(gpus: Sequence[Gpu], trial_mb: int, note: Callable[[str], None]) -> list[Gpu]:
    """The GPUs that have enough free memory for the largest trial now."""
    needed_mb = CONTEXT_MB + trial_mb
    full = [gpu for gpu in gpus if gpu.free_mb is not None and gpu.free_mb < needed_mb]
    lines = [f"{gpu.device} has {gpu.free_mb:,} of {gpu.total_mb:,} MB free" for gpu in full]
    if len(full) == len(gpus):
        raise UnavailableError(
            f"{', '.join(lines)}, and a trial needs about {needed_mb:,} MB: lower the space's width, depth or"
            " batch_size, or train on cores with --gpus 0"
        )
    for line in lines:
        note(f"{line}, and a trial needs about {needed_mb:,} MB: it is left out")
    return [gpu for gpu in gpus if gpu not in full]


def _trials_on(gpu: Gpu, wanted: int | Literal["auto"], trial_mb: int, n_gpus: int) -> int:
    """Trials that share a GPU; for ``auto`` as many as fit, and no more than there are cores to feed them."""
    if wanted != "auto":
        return wanted
    if gpu.free_mb is None:
        return 1
    return max(1, min(gpu.free_mb // (CONTEXT_MB + trial_mb), count_cores() // n_gpus))


def _share_mb(gpu: Gpu, n_trials: int) -> int | None:
    """TensorFlow's memory limit in each process that shares a GPU; None for a process with a GPU of its own."""
    if n_trials == 1 or gpu.free_mb is None:
        return None
    share_mb = gpu.free_mb // n_trials - CONTEXT_MB
    if share_mb < _LEAST_SHARE_MB:
        got = f"{n_trials} with {gpu.free_mb:,} MB free, of which each takes {CONTEXT_MB} before it trains"
        raise SpecError(f"workers.trials_per_gpu: must leave each trial some memory of {gpu.device}, got {got}")
    return share_mb
