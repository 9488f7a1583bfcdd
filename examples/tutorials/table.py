"""Runs the tutorials' study files over three seeds and prints the table of docs/tutorials.md.

``python examples/tutorials/table.py [HOME]``; a second call in the same home resumes the first.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import mean

from mlflow import MlflowClient

import search

SEEDS = (0, 1, 2)


def figures(path: Path, seed: int, home: Path) -> tuple[float, float, float]:
    """Accuracy on the training rows after the last epoch, on the test rows, and on those before any training."""
    name = f"{path.stem}-seed-{seed}"
    result = search.run_study(search.override(search.read_spec(path), name=name, seed=seed), home=home)
    run_id = result.rows[0].run_id
    history = MlflowClient(f"sqlite:///{home / 'mlflow.db'}").get_metric_history(run_id, "accuracy")
    reading = search.evaluate(name, again=True, home=home)
    return max(history, key=lambda point: point.step).value, reading.evaluation.accuracy, reading.untrained_accuracy


def main(home: Path) -> None:
    """Prints a Markdown table, a row each file."""
    print("| study file | training accuracy | test accuracy | untrained | test accuracy of each seed |")
    print("| --- | ---: | ---: | ---: | --- |")
    for path in sorted(Path(__file__).parent.glob("*.toml")):
        training, test, untrained = zip(*(figures(path, seed, home) for seed in SEEDS), strict=True)
        each = ", ".join(f"{accuracy:.4f}" for accuracy in test)
        print(
            f"| `{path.name}` | {mean(training):.4f} | {mean(test):.4f} | {mean(untrained):.4f} | {each} |", flush=True
        )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "tutorials").absolute())
