"""Which slots this machine has: its GPUs or shares of them, or its cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pipelines.errors import SpecError, UnavailableError
from search.devices.gpus import Gpu, find_gpus, named_by, split_entries

CONTEXT_MB = 600
"""What a process takes of a GPU beside TensorFlow's own memory: CUDA's context and libraries. An assumption."""
_LEAST_SHARE_MB = 64


def find_slots(
    count: int | None = None,
    visible_devices: str | None = None,
    *,
    gpus: int | str | None = None,
    trials_per_gpu: int | Literal["auto"] | None = None,
    trial_mb: int = 0,
    note: Callable[[str], None] = lambda _: None,
) -> list[Slot]:
    """One slot a GPU, a share of a GPU, or a core where no GPU is to be used.

    Args:
        count: How many slots; more than there are GPUs share them in turn. None: all there are.
        visible_devices: The user's ``CUDA_VISIBLE_DEVICES``: indexes or UUIDs; None where it is not set.
        gpus: Of those, how many or which; None means all.
        trials_per_gpu: Trials that share a GPU; None means as many as ``count`` asks for, else one.
        trial_mb: Forecast of a GPU's memory that the largest trial takes.
        note: Called with a line about each GPU that is left out.

    Raises:
        SpecError: There are no such GPUs, or a share would be too small for anything.
        UnavailableError: No GPU has enough free memory.
    """
    chosen = _choose(find_gpus(visible_devices), gpus)
    if not chosen:
        return [Slot(number, f"cpu:{number}") for number in range(count or count_cores())]
    roomy = _with_room(chosen, trial_mb, note)
    if trials_per_gpu is None:
        seats = [roomy[n % len(roomy)] for n in range(count or len(roomy))]
    else:
        room = [_room(gpu, trials_per_gpu, trial_mb, len(roomy)) for gpu in roomy]
        seats = [gpu for turn in range(max(room)) for gpu, n in zip(roomy, room, strict=True) if turn < n][:count]
    return [Slot(n, gpu.device, gpu.uuid, _share_mb(gpu, seats.count(gpu))) for n, gpu in enumerate(seats)]


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _choose(gpus: list[Gpu], choice: int | str | None) -> list[Gpu]:
    """The user's choice among the visible GPUs: a number of them, or a list of numbers and UUIDs."""
    if choice is None:
        return gpus
    have = ", ".join(gpu.device for gpu in gpus) or "none"
    if str(choice).isdigit():
        if int(choice) > len(gpus):
            raise SpecError(f"workers.gpus (--gpus): must be at most the GPUs that can be used, {have}, got {choice}")
        return gpus[: int(choice)]
    chosen: dict[Gpu, None] = {}
    for entry in split_entries(str(choice)):
        if not (named := named_by(entry, gpus)):
            raise SpecError(f"workers.gpus (--gpus): must name GPUs that can be used, {have}, got {entry}")
        chosen |= dict.fromkeys(named)
    return list(chosen)


def _with_room(gpus: Sequence[Gpu], trial_mb: int, note: Callable[[str], None]) -> list[Gpu]:
    """The GPUs on which the largest trial fits by now."""
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


def _room(gpu: Gpu, wanted: int | Literal["auto"], trial_mb: int, n_gpus: int) -> int:
    """Trials that share a GPU; with ``auto`` as many as fit, and no more than there are cores to feed them."""
    if wanted != "auto":
        return wanted
    if gpu.free_mb is None:
        return 1
    return max(1, min(gpu.free_mb // (CONTEXT_MB + trial_mb), count_cores() // n_gpus))


def _share_mb(gpu: Gpu, n_trials: int) -> int | None:
    """What TensorFlow may take in each of the processes that share a GPU; None where one has it alone."""
    if n_trials == 1 or gpu.free_mb is None:
        return None
    share_mb = gpu.free_mb // n_trials - CONTEXT_MB
    if share_mb < _LEAST_SHARE_MB:
        got = f"{n_trials} with {gpu.free_mb:,} MB free, of which each takes {CONTEXT_MB} before it trains"
        raise SpecError(f"workers.trials_per_gpu: must leave each trial some memory of {gpu.device}, got {got}")
    return share_mb


@dataclass(frozen=True, slots=True)
class Slot:
    """A place where one trial trains at a time.

    Attributes:
        number: From 0.
        device: What a run's ``device`` tag says: ``cpu:0``, ``gpu:0``.
        visible_devices: ``CUDA_VISIBLE_DEVICES`` of the slot's process; "" hides every GPU.
        memory_limit_mb: Its share of a GPU that other slots of the same device have too; None means no limit.
    """

    number: int
    device: str
    visible_devices: str = ""
    memory_limit_mb: int | None = None
