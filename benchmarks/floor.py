"""The lower bound of the panel: its multiply-adds at TensorFlow's matrix rate on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from peers.problem import (
    CONFIGURATIONS,
    N_CLASSES,
    N_FEATURES,
    N_TRAINING_ROWS,
    N_VALIDATION_ROWS,
    PANEL_EPOCHS,
    Configuration,
)

_PROBE_S = 6.0
_UNROLLED = 8


@dataclass(frozen=True, slots=True)
class Product:
    """A matrix product of a training step: (n_rows, n_inner) by (n_inner, n_columns).

    Attributes:
        n_rows: Rows of the result.
        n_inner: The summed dimension.
        n_columns: Columns of the result.
        transposed: ``a`` where the left operand lies transposed, ``b`` where the right one does, else empty.
    """

    n_rows: int
    n_inner: int
    n_columns: int
    transposed: str = ""

    @property
    def flops(self) -> int:
        """Two for each multiply-add."""
        return 2 * self.n_rows * self.n_inner * self.n_columns


def products(configuration: Configuration, epochs: int = PANEL_EPOCHS) -> Counter[Product]:
    """The number of times that a trial computes each product: forward, both gradients, validation.

    The first layer's inputs need no gradient. Validation is counted in batches of the trial's own size.
    """
    width, depth, batch = configuration["width"], configuration["depth"], configuration["batch_size"]
    n_steps, n_validation = N_TRAINING_ROWS * epochs / batch, N_VALIDATION_ROWS * epochs / batch
    counts: Counter[Product] = Counter()
    for layer, (n_in, n_out) in enumerate(pairwise([N_FEATURES, *[width] * depth, N_CLASSES])):
        counts[Product(batch, n_in, n_out)] += n_steps + n_validation
        counts[Product(n_in, batch, n_out, "a")] += n_steps
        if layer > 0:
            counts[Product(batch, n_out, n_in, "b")] += n_steps
    return counts


def panel_products(limit: int = len(CONFIGURATIONS), epochs: int = PANEL_EPOCHS) -> Counter[Product]:
    """The products of the panel's configurations together."""
    return sum((products(values, epochs) for values in CONFIGURATIONS[:limit]), Counter())


def measure(limit: int = len(CONFIGURATIONS), epochs: int = PANEL_EPOCHS) -> dict[str, float]:
    """Probes with one one-thread process a core, all at once.

    Returns:
        ``gflop`` of the panel; ``gflops`` of the machine over the panel's own mix of shapes, and ``floor_s``
        at that rate; ``peak_gflops`` at its best shape, and ``peak_floor_s``.
    """
    command = [sys.executable, __file__, str(limit)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    pipes["env"] = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    probes = [subprocess.Popen(command, **pipes) for _ in range(os.cpu_count() or 1)]
    for probe in probes:
        probe.stdout.readline()  # ready: TensorFlow is imported
    for probe in probes:
        probe.stdin.write("go\n")
        probe.stdin.flush()
    rates = [json.loads(probe.communicate()[0]) for probe in probes]
    flops = sum(product.flops * count for product, count in panel_products(limit, epochs).items())
    mixed, peak = (sum(rate[name] for rate in rates) for name in ("mixed", "peak"))
    return {
        "gflop": flops / 1e9,
        "gflops": mixed / 1e9,
        "floor_s": flops / mixed,
        "peak_gflops": peak / 1e9,
        "peak_floor_s": flops / peak,
    }


def _seconds_a_product(tf: Any, product: Product, budget_s: float) -> float:
    """The fastest of several rounds: what slows a round down is another process, not the product."""
    left, right = product.transposed == "a", product.transposed == "b"
    a = tf.random.normal((product.n_rows, product.n_inner)[:: -1 if left else 1])
    # Different right operands: TensorFlow would compute equal products once.
    many = [tf.random.normal((product.n_inner, product.n_columns)[:: -1 if right else 1]) for _ in range(_UNROLLED)]

    @tf.function
    def compute(a: Any, many: Any) -> Any:
        return [tf.linalg.matmul(a, b, transpose_a=left, transpose_b=right) for b in many]

    compute(a, many)
    fastest, end = float("inf"), time.perf_counter() + budget_s
    while time.perf_counter() < end:
        start = time.perf_counter()
        compute(a, many)
        fastest = min(fastest, time.perf_counter() - start)
    return fastest / _UNROLLED


def probe(limit: int) -> None:
    """One process's part: waits for the word, measures, prints its rates in flops a second."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    print("ready", flush=True)
    sys.stdin.readline()
    counts = panel_products(limit)
    seconds = {product: _seconds_a_product(tf, product, _PROBE_S / len(counts)) for product in counts}
    total_flops = sum(product.flops * count for product, count in counts.items())
    total_s = sum(seconds[product] * count for product, count in counts.items())
    peak = max(product.flops / seconds[product] for product in counts)
    print(json.dumps({"mixed": total_flops / total_s, "peak": peak}))


if __name__ == "__main__":
    probe(int(sys.argv[1]))
