"""The specification of a study: its data, space, budget and methods, with the defaults that its data decides."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from pipelines.config import FEW_ROWS, AskedPrecision, DataConfig, Hyperparameters
from pipelines.errors import SpecError
from pipelines.files.sources import SOURCES, is_table, scaling_of
from pipelines.objectives import DEFAULT_OBJECTIVES, OBJECTIVES, TASK_DIMENSIONS, Task
from search.spec.defaults import STARTS
from search.spec.dimensions import Dimension, Range, nearest
from search.spec.rules import TABLES, Budget, Pruner, Sampler
from search.spec.schema import parse
from search.spec.space import SearchSpace

DEFAULT_TRIALS = 64
_START_WIDTH_IN_FOLDS, _WIDTH_IN_FOLDS = 64, 128
"""The widest start, and the widest network, for the classes of a small table in folds: wider ones take two to five
times as long and gain little; see docs/adr/0012."""
_NARROW_BELOW_ROWS, _NARROW_TO_FEATURES = 10_000, 256
"""The size of a small table; those measured have 1,470 to 5,000 rows and 87 to 215 features."""
_EMBEDDING_WEIGHTS = 1 << 22
"""Weights of the dense layer of an embedding, beyond which no preset has one: 1,448 columns of two ranges. Networks in
folds hold it in several copies, and every batch is multiplied by it."""
NOTHING: Mapping[str, str] = MappingProxyType({})


def default_space() -> SearchSpace:
    """The space of a study file that names none: that of the classic preset."""
    return SearchSpace(parse({})[0]["space"])


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """The settings of the workers.

    Attributes:
        slots: Trials that train at the same time; None means one per GPU, or per core without GPUs.
        trial_timeout_s: Longest time for one trial, in seconds; None means no limit.
        memory_mb: Resident memory in MB, beside the rows, above which a worker is replaced between trials.
        gpus: Number of visible GPUs, or their list as ``CUDA_VISIBLE_DEVICES`` names them; 0 means cores, None all.
        trials_per_gpu: Trials that share a GPU; ``auto`` forecasts how many fit, None means one.
        precision: Of the matrix products in training; None and ``auto`` take bfloat16 where it is faster. A study
            keeps what it was started with.
    """

    slots: int | None = None
    trial_timeout_s: float | None = None
    memory_mb: int = 1000
    gpus: int | str | None = None
    trials_per_gpu: int | Literal["auto"] | None = None
    precision: AskedPrecision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySpec:
    """One search over one dataset.

    Attributes:
        name: The study's name, and its experiment's in MLflow.
        data: The dataset and its split.
        space: The search space.
        seed: Seed of the sampler and of every trial.
        trials: The most trials, over all runs of the study; None where the timeout alone limits it.
        timeout_s: The most seconds, over all runs of the study; None where the number of trials alone limits it.
        objective: The validation metric that ranks trials; None is the task's, which the data decides.
        sampler: Optuna's sampler.
        pruner: Optuna's pruner.
        audit: Share of the trials to be pruned that train to their last epoch, drawn at random: they show what
            pruning misses.
        budget: ``auto`` spends it on trials and then on new seeds of the best of them; None and ``search`` on trials.
        like: Studies of the home whose best configurations come before ``start``.
        deterministic: Whether the trials follow from the seed alone, whatever the slots. None: those of a new study do,
            and an existing one keeps what it was started with.
        virtual_slots: Slots of the virtual clock, at least as many as there are slots; None: eight, or as many as there
            are slots, and an existing study keeps its own.
        keep_models: Number of the best trials that keep their model files in MLflow; None: those of a new study all
            keep theirs, and an existing one keeps what it was started with.
        start: Configurations that are tried first; none of them is pruned.
        workers: Where trials train.
        has_default_trials: Whether the number of trials is the default one, which a timeout replaces.
        has_default_starts: Whether the user gave no ``start``: the size of the source, and folds, may choose others.
        has_default_space: Whether the user gave no space: that of an array with few rows is the classic one, that of a
            small table in folds has a lower highest width, and an existing study keeps its own.
        n_liked: The number of the first ``start`` configurations that come from ``like``; None: all of them, as in
            studies of earlier versions.
        of_preset: Dimensions that a preset brought: those that do not fit the task are left out.
    """

    name: str
    data: DataConfig
    space: SearchSpace = field(default_factory=default_space)
    seed: int = 0
    trials: int | None = DEFAULT_TRIALS
    timeout_s: float | None = None
    objective: str | None = None
    sampler: Sampler = "tpe"
    pruner: Pruner = "asha"
    audit: float = 0.0
    budget: Budget | None = None
    like: Sequence[str] | None = None
    deterministic: bool | None = None
    virtual_slots: int | None = None
    keep_models: int | None = None
    start: tuple[Hyperparameters, ...] = ()
    workers: WorkerSettings = field(default_factory=WorkerSettings)
    has_default_trials: bool = field(default=False, compare=False)
    has_default_starts: bool = field(default=False, compare=False)
    has_default_space: bool = field(default=False, compare=False)
    n_liked: int | None = field(default=None, compare=False)
    of_preset: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def metric(self) -> str:
        """The validation metric that ranks trials; the accuracy where no task has settled one."""
        return self.objective or DEFAULT_OBJECTIVES["classification"]

    @property
    def has_default_budget(self) -> bool:
        """Whether the user gave no budget: an existing study keeps its own."""
        return self.has_default_trials and self.trials == DEFAULT_TRIALS and self.timeout_s is None

    def is_start(self, number: int) -> bool:
        """Whether a trial has one of the ``start`` configurations."""
        return number < len(self.start)

    @property
    def shift(self) -> int:
        """The most pixels by which a configuration moves pictures."""
        return self.space.highest("shift") if "shift" in self.space.dimensions else 0

    def for_task(self, task: Task, unfit: Mapping[str, str] = NOTHING) -> StudySpec:
        """The study with the task of its data, and the objective that it has by default.

        Args:
            task: Of the data.
            unfit: Dimensions and objectives that have no meaning for the data, by name, each with the reason. Such
                dimensions are left out where a preset names them, like those of another task.

        Raises:
            SpecError: The objective or a dimension is another task's or does not fit the data, or objective and
                dimensions contradict each other.
        """
        left_out = {name for name in self.of_preset if name in unfit or TASK_DIMENSIONS.get(name, task) != task}
        spec = self._without(left_out)
        space = spec.space
        objective = fitting_objective(self.objective, task, space.named, self.data, unfit)
        if objective == "val_loss" and "loss" in space.searched:
            rule = "must not be val_loss where the space searches the loss, whose values cannot be compared"
            raise SpecError(f"search.objective: {rule}: take val_rmse or val_mae, or fix space.loss")
        return replace(spec, objective=objective, data=settled(self.data, task))

    def _without(self, left_out: Collection[str]) -> StudySpec:
        start = tuple(start.without(left_out) for start in self.start)
        return replace(self, space=self.space.without(left_out), start=start)

    def with_folds(self, n_folds: int) -> StudySpec:
        """The study with the number of folds of its data, as it is recorded."""
        return replace(self, data=replace(self.data, folds=n_folds))

    def for_size(self, n_rows: int, n_features: int, n_pieces: int = 0) -> StudySpec:
        """The study with the space and the starts of a source of this size, where the user gave none.

        Args:
            n_rows: Of the source.
            n_features: Inputs of a network.
            n_pieces: Values that an embedding adds to them.
        """
        is_large = n_features * n_pieces > _EMBEDDING_WEIGHTS
        spec = self._without({"embedding"} & self.of_preset) if is_large else self
        if not self.has_default_starts:
            return spec
        spec = spec._for_few_rows() if n_rows < FEW_ROWS else spec
        # For pictures, which a table may hold too, and for a regression wider networks were better.
        is_of_classes = is_table(self.data.source) and self.data.task == "classification"
        is_small = n_rows < _NARROW_BELOW_ROWS and n_features <= _NARROW_TO_FEATURES
        return spec.narrowed() if is_of_classes and is_small and (self.data.folds or 1) > 1 else spec

    def narrowed(self) -> StudySpec:
        """The study of a small table: narrow starts, and a narrow space unless the user gave one, or ``like``."""
        width, is_default = self.space.dimensions["width"], self.has_default_space and "width" in self.of_preset
        if is_default and not self.like and isinstance(width, Range):
            width = replace(width, high=min(width.high, _WIDTH_IN_FOLDS))
        widths = [int(nearest(width, min(start.width, _START_WIDTH_IN_FOLDS))) for start in self.start]
        start = tuple(replace(start, width=narrow) for start, narrow in zip(self.start, widths, strict=True))
        return replace(self, space=SearchSpace({**self.space.dimensions, "width": width}), start=start)

    @property
    def own_dimensions(self) -> dict[str, Dimension]:
        """The dimensions that the user gave, beside those of a preset."""
        return {name: self.space.dimensions[name] for name in self.space.named if name not in self.of_preset}

    def _for_few_rows(self) -> StudySpec:
        space, classic = self.space, default_space().dimensions
        if self.has_default_space and not is_table(self.data.source):
            space = SearchSpace({**classic, **self.own_dimensions})
        elif not self.of_preset <= classic.keys():
            return self
        starts = map(space.adapted, STARTS["few_rows"])
        fitting = tuple(Hyperparameters(**values) for values, problems in starts if not problems)
        return replace(self, space=space, start=fitting or self.start)

    def to_json(self) -> dict[str, Any]:
        """The study file as JSON, with every default."""
        document: dict[str, Any] = {}
        for name, owner in {"study": self, "data": self.data, "search": self, "workers": self.workers}.items():
            values = {key: getattr(owner, key) for key in TABLES[name]}
            document[name] = {key: value for key, value in values.items() if value is not None}
        return document | {"space": self.space.to_json(), "start": [start.to_json() for start in self.start]}


def fitting_objective(
    given: str | None,
    task: Task,
    dimensions: Collection[str],
    data: DataConfig,
    unfit: Mapping[str, str] = NOTHING,
) -> str:
    """The objective of a study or a training, by default the task's.

    Args:
        given: The objective asked for.
        task: Of the data.
        dimensions: Names of the hyperparameters that are given.
        data: The dataset.
        unfit: Hyperparameters and objectives that have no meaning for the data, by name, each with the reason.

    Raises:
        SpecError: The objective, a hyperparameter or a setting of the data is another task's, or does not fit the data.
    """
    objective = OBJECTIVES[given or DEFAULT_OBJECTIVES[task]]
    rule = f"must be left out, because the task is a {task}"
    problems = [f"{name}: {rule}" for name in dimensions if TASK_DIMENSIONS.get(name, task) != task]
    problems += [f"{name}: must be left out, because {unfit[name]}" for name in dimensions if name in unfit]
    if objective.name in unfit:
        problems.append(f"search.objective: must not be {objective.name}, because {unfit[objective.name]}")
    if objective.task not in (task, None):
        names = ", ".join(o.name for o in OBJECTIVES.values() if o.task in (task, None))
        problems.append(f"search.objective: must be one of {names} for a {task}, got {objective.name}")
    if task == "classification" and data.target_transform is not None:
        problems.append(f"data.target_transform: {rule}")
    if problems:
        raise SpecError(problems)
    return objective.name


def settled(data: DataConfig, task: Task) -> DataConfig:
    """The data with what its defaults are for this source, as a study records them."""
    draw = data.group_draw or ("random" if _may_have_groups(data) else None)
    return replace(data, task=task, scaling=scaling_of(data), group_draw=draw)


def drawn_as_then(data: DataConfig) -> DataConfig:
    """The data of a study or a training that was recorded; earlier versions drew groups in another way."""
    draw = data.group_draw or ("largest_first" if _may_have_groups(data) else None)
    return replace(data, group_draw=draw)


def _may_have_groups(data: DataConfig) -> bool:
    """Whether rows may be split by group; a ``.npz`` file may have groups that nothing names."""
    is_archive = data.source not in SOURCES and not is_table(data.source)
    return data.group is not None or data.duplicates == "group" or is_archive
