"""Trains one configuration: reports each epoch and keeps the weights of the best one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.config import FUSED_OPTIMIZERS, Hyperparameters, Precision, count_parameters, layer_sizes
from pipelines.network.architecture import Architecture
from pipelines.network.layers import uses_gpu
from pipelines.network.steps.schedules import learning_rates
from pipelines.objectives import OBJECTIVES, Objective
from pipelines.training.history import Checkpoint, EpochReport
from pipelines.training.pack import Network, Pack, networks, rows_per_epoch
from pipelines.training.packing import networks_at_once
from pipelines.training.rows import TrainingRows
from pipelines.training.validation import Answers, Validation


@dataclass(slots=True)
class SeedResult:
    """The result of a configuration with one seed.

    Attributes:
        members: Its network, or those of the folds.
        best_value: The best objective so far; before the first epoch, a value that every value beats.
        best: Weights of the epoch that has it, the earliest of equals; before the first epoch, the initial ones. Those
            of folds have a first axis of folds.
        best_epoch: Number of that epoch, 0 before the first.
        report: Of its last epoch; None before the first.
    """

    members: list[Network]
    best_value: float
    best: tuple[np.ndarray, ...]
    best_epoch: int = 0
    report: EpochReport | None = None


class Training:
    """One configuration in training; iterate over it for a report an epoch.

    Initial weights, row order and dropout depend on the seed and the epoch's number alone, so training that resumes
    from a checkpoint gives the same weights as training without interruption. The networks of folds, and those of
    further seeds, train side by side in one program where that is faster; each is what it would be alone.

    Args:
        rows: The training and validation rows.
        hyperparameters: The configuration; ``epochs`` is the epoch to train up to.
        seed: Seed of the initial weights, the order of the rows and the dropout; or several, each a training.
        start: The checkpoint to resume from; None starts with fresh weights. Of a single network only.
        objective: Name of the validation metric that picks the best epoch.
        precision: Type of the operands of matrix products in training; weights, sums and validation are float32.

    Attributes:
        results: Of each seed, in their order.
        network: The architecture of its networks.
        n_parameters: Number of trained weights of each network.

    Raises:
        TrainingError: Keras has no optimizer of that name.
    """

    def __init__(
        self,
        rows: TrainingRows,
        hyperparameters: Hyperparameters,
        seed: int | Sequence[int],
        start: Checkpoint | None = None,
        objective: str = "val_accuracy",
        precision: Precision = "float32",
    ) -> None:
        hp = self._hp = hyperparameters
        loss = hp.loss or ("mse" if rows.target else "cross_entropy")
        self._objective = OBJECTIVES[objective]
        sizes = layer_sizes(hp, *rows.sizes)
        self.network = Architecture.of(hp, sizes)
        self.n_parameters = count_parameters(hp, *rows.sizes)
        self._validation = Validation(rows, self.network, loss, self._objective)
        self._epoch, self._steps = (start.epochs, start.steps) if start else (0, 0)
        self._n_rows = rows_per_epoch(rows)
        seeds = [seed] if isinstance(seed, int) else seed
        of_seeds = [networks(rows, number) for number in seeds]
        members = [member for of_seed in of_seeds for member in of_seed]
        size = 1
        if hp.optimizer in FUSED_OPTIMIZERS:  # Keras's own optimizers may mix the weights of an array
            size = networks_at_once(sizes, on_gpu=uses_gpu())
        rows = rows.weighted(hp.class_weight)
        parts = [members[first : first + size] for first in range(0, len(members), size)]
        self._packs = [Pack(rows, hp, part, loss, precision, start) for part in parts]
        self.results = [SeedResult(of_seed, self._objective.worst, self._weights_of(of_seed)) for of_seed in of_seeds]

    def __iter__(self) -> Iterator[EpochReport]:
        """Trains to the last epoch, or until no seed has a finite loss; yields the first report that is finite."""
        while self._epoch < self._hp.epochs:
            self._train_epoch()
            reports = [result.report for result in self.results if result.report]
            finite = [report for report in reports if report.is_finite]
            yield (finite or reports)[0]
            if not finite:
                return

    def _train_epoch(self) -> None:
        started = time.perf_counter()
        rates = learning_rates(self._hp, self._n_rows, self._epoch)
        found: dict[Network, dict[str, float]] = {}
        for pack in self._packs:
            losses, accuracies = pack.train(self._epoch, rates, self._steps + 1)
            for place, scores in enumerate(self._validation.scores(pack)):
                trained = {"loss": float(losses[place])}
                if "val_accuracy" in scores:
                    trained["accuracy"] = float(accuracies[place])
                found[pack.members[place]] = trained | scores
        self._epoch += 1
        self._steps += len(rates)
        for result in self.results:
            metrics = _mean([found[member] for member in result.members], self._objective)
            duration_s = time.perf_counter() - started
            result.report = EpochReport(self._epoch, metrics, float(rates[0]), duration_s)
            value = metrics[self._objective.name]
            if result.report.is_finite and self._objective.is_better(value, result.best_value):
                result.best_epoch, result.best_value = self._epoch, value
                result.best = self._weights_of(result.members)

    def _weights_of(self, members: Sequence[Network]) -> tuple[np.ndarray, ...]:
        """Returns copies of the current weights, those of folds with a first axis of folds."""
        parts = [arrays for pack in self._packs if (arrays := pack.arrays_of(members))]
        stacked = parts[0] if len(parts) == 1 else [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
        return tuple(stacked) if members[0].fold is not None else tuple(array[0] for array in stacked)

    def weights(self, index: int = 0) -> tuple[np.ndarray, ...]:
        """Returns the current weights with a seed, as ``SeedResult.best`` has them."""
        return self._weights_of(self.results[index].members)

    def answers(self, index: int, weights: Sequence[np.ndarray]) -> list[Answers]:
        """Returns the predictions of the validation rows with weights of a seed, one for each of its networks."""
        return self._validation.answers(self.results[index].members, weights)

    def checkpoint(self) -> Checkpoint:
        """Returns all that resuming a single network after the current epoch needs."""
        return self._packs[0].checkpoint(self._steps, self._epoch)


def _mean(scores: Sequence[dict[str, float]], objective: Objective) -> dict[str, float]:
    """Returns the means over networks, and of folds the standard deviation of the objective."""
    if len(scores) == 1:
        return scores[0]
    means = {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}
    return means | {objective.spread_key: float(np.std([score[objective.name] for score in scores], ddof=1))}
