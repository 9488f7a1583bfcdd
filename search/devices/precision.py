"""The choice of bfloat16 for matrix products: the rule of a study, and the precision of one configuration.

No clock is read: a study settles its rule once, by the kind of its processors, and a configuration's precision follows
from the rule and from sizes, so that what is repeated or resumed anywhere trains in the same precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Literal

from pipelines.config import AskedPrecision, Hyperparameters, Precision, layer_sizes
from search.devices.gpus import find_gpus
from search.devices.slots import Slot

PrecisionRule = Literal["float32", "by_size", "bfloat16"]
"""The rule of a study: all networks in one precision, or bfloat16 for those that are large enough to gain by it."""

AS_ASKED: dict[PrecisionRule, str] = {
    "float32": "float32",
    "by_size": "auto (bfloat16 for large networks)",
    "bfloat16": "bfloat16",
}
"""Each rule as people read it."""
_FLAGS = {"avx512_bf16", "amx_bf16"}
"""Linux's names of the instructions with which TensorFlow's matrix product of bfloat16 is faster than of float32."""
_NATIVE_GPU = (8, 0)
"""The compute capability from which on a GPU multiplies bfloat16 natively."""
_LEAST_SIDE = 64
"""Kernels with fewer inputs or outputs gain nothing: their operands take as long to convert as to multiply."""
_LEAST_WORK = 4_000_000
"""Multiply-adds of the other kernels in a step from which on whole epochs were measured to gain; see docs/adr/0019."""


def settle(asked: AskedPrecision | None, slots: Sequence[Slot], has_bfloat16: Callable[[], bool]) -> PrecisionRule:
    """Settles the rule of a study or a training that begins.

    Not on GPUs: TensorFlow computes products of float32 in TF32 there, and bfloat16 gained at most 3 % on an H100.

    Args:
        asked: The user's setting; None is ``auto``.
        slots: Where it trains.
        has_bfloat16: Says whether the processors of the slots multiply bfloat16 natively.
    """
    if asked == "float32" or asked == "bfloat16":
        return asked
    on_cores = bool(slots) and all(slot.device.startswith("cpu") for slot in slots)
    return "by_size" if on_cores and has_bfloat16() else "float32"


def slow_note(rule: PrecisionRule, has_bfloat16: Callable[[], bool]) -> list[str]:
    """A line where networks train in bfloat16 on a processor without instructions for it; none elsewhere."""
    if rule == "float32" or has_bfloat16():
        return []
    return [
        "this processor does not multiply bfloat16 natively: networks in bfloat16 train more slowly than in float32"
    ]


def precision_of(
    rule: PrecisionRule, hp: Hyperparameters, n_features: int, n_outputs: int, n_pieces: int = 0
) -> Precision:
    """The precision in which a configuration trains.

    Args:
        rule: Of its study.
        hp: The configuration.
        n_features: Values of one flattened input row.
        n_outputs: Outputs of a network.
        n_pieces: Values that an embedding adds to an input row.
    """
    if rule != "by_size":
        return rule
    kernels = pairwise(layer_sizes(hp, n_features, n_outputs, n_pieces))
    work = hp.batch_size * sum(n_in * n_out for n_in, n_out in kernels if min(n_in, n_out) >= _LEAST_SIDE)
    return "bfloat16" if work >= _LEAST_WORK else "float32"


def have_bfloat16(slots: Sequence[Slot]) -> bool:
    """Whether the processor or the GPU of each of these slots of this machine multiplies bfloat16 natively."""
    gpus = [gpu for slot in slots if slot.visible_devices for gpu in find_gpus(slot.visible_devices)]
    if any(not slot.visible_devices for slot in slots) and not cpu_has_bfloat16():
        return False
    return all(gpu.capability is None or gpu.capability >= _NATIVE_GPU for gpu in gpus)


@cache
def cpu_has_bfloat16() -> bool:
    """Whether this machine's processors multiply bfloat16 natively; False where the system does not say."""
    return is_native(_cpuinfo())


def is_native(cpuinfo: str) -> bool:
    """Whether the text of ``/proc/cpuinfo`` is that of a processor that multiplies bfloat16 natively."""
    flags = [set(line.partition(":")[2].split()) for line in cpuinfo.splitlines() if line.startswith("flags")]
    return bool(flags) and all(_FLAGS & own for own in flags)


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # another system
        return ""
