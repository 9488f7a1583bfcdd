"""Coverage of the intervals of a held-out test where one of two classes has few rows.

``python benchmarks/class_intervals.py`` prints a table; a minute on one core. Scores are normal, those of the rare
class are higher by ``distance``, and the threshold lies nearer to the rare class. The metric of a million rows with the
same shares of the classes is what an interval must cover.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import harness
import numpy as np
from rich.table import Table
from scipy import stats

from pipelines.evaluation.metrics import Estimate
from pipelines.training.scores import contributions, score

METRICS = ("balanced_accuracy", "macro_f1", "auc", "average_precision")
DISTANCES, RARE_ROWS, N_ROWS = (1.8, 3.5), (2, 3, 5, 10, 20, 50, 200), 1000
_N_OTHER = 1_000_000


def draw(rng: np.random.Generator, n_rare: int, n_rows: int, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """(n_rows, 2) probabilities and (n_rows,) classes, of which 1 is the rare one."""
    labels = np.r_[np.ones(n_rare, int), np.zeros(n_rows - n_rare, int)]
    rare = stats.norm.cdf(rng.normal(size=n_rows) + distance * labels - distance / 2 - 0.3)
    return np.stack([1 - rare, rare], axis=1), labels


def true_value(metric: str, n_rare: int, n_rows: int, distance: float) -> float:
    """The metric of very many rows, half of each class, weighted so that the classes have the same shares."""
    probabilities, labels = draw(np.random.default_rng(1), _N_OTHER // 2, _N_OTHER, distance)
    return score(metric, probabilities, labels, np.where(labels == 1, n_rare, n_rows - n_rare).astype(float))


def coverage(metric: str, n_rare: int, distance: float, n_times: int, n_rows: int = N_ROWS) -> tuple[float, float]:
    """The share of the simulations in which the interval covers, and the mean width of the intervals."""
    wanted, covered, widths = true_value(metric, n_rare, n_rows, distance), 0, []
    for seed in range(n_times):
        probabilities, labels = draw(np.random.default_rng(seed), n_rare, n_rows, distance)
        found = Estimate.of(metric, contributions(metric, probabilities, labels), None, None, labels, 2)
        covered += found.low <= wanted <= found.high
        widths.append(found.high - found.low)
    return covered / n_times, float(np.mean(widths))


def table(n_times: int, metrics: Sequence[str] = METRICS) -> Table:
    view = Table(title=f"Coverage of 95 % intervals (mean width), {N_ROWS} rows, {n_times} simulations")
    for column in ("distance", "rows of the rare class", *metrics):
        view.add_column(column, justify="right")
    for distance in DISTANCES:
        for n_rare in RARE_ROWS:
            found = (coverage(metric, n_rare, distance, n_times) for metric in metrics)
            view.add_row(str(distance), str(n_rare), *(f"{share:.1%} ({width:.2f})" for share, width in found))
    return view


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=400)
    harness.console().print(table(parser.parse_args().times))


if __name__ == "__main__":
    main()
