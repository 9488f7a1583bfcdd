"""A study file (TOML), or the same as a dict, becomes a StudySpec, or an error with every problem in it.

Defaults of what a file leaves out:

* ``[study]``: the name is that of the source, the seed 0. Without ``trials`` and ``timeout_s`` the budget is
  ``DEFAULT_TRIALS``; with one of them, that one alone.
* ``[space]`` as a whole: the default space. A dimension that an existing ``[space]`` leaves out is not
  searched, as with Optuna and scikit-learn: it stays at its value in ``Hyperparameters()``, the learning
  rate at Keras's default for the trial's optimizer.
* In a ``[[start]]``: what the space fixes; the learning rate (Keras's default for the optimizer); the
  schedule (constant). Everything else must be given, and every value must lie in the space.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pipelines.config import FEW_ROWS, AskedPrecision, DataConfig, Hyperparameters
from pipelines.errors import SpecError
from pipelines.files.sources import TABLE_SUFFIXES, scaling_of, stem_of, suffix_of
from pipelines.objectives import DEFAULT_OBJECTIVES, OBJECTIVES, TASK_DIMENSIONS, Task
from search.home.text import printable
from search.spec.dimensions import Range, count, values
from search.spec.rules import NAME_RULE, TABLES, Pruner, Sampler, is_name
from search.spec.schema import Table, load, parse, show
from search.spec.space import SearchSpace
from search.spec.template import DEFAULT_STUDY

DEFAULT_TRIALS = 64
MAX_WEIGHTS = 2**31
TABLE_START = Hyperparameters(256, 2, 0.1, "adam", 0.003, "cosine", 40, 32)
"""The first configuration of a table's study without a file: small batches, as few rows make few steps an epoch."""
SMALL_STARTS = (
    Hyperparameters(128, 2, 0.2, "adam", 0.003, "cosine", 40, 32),
    Hyperparameters(256, 2, 0.3, "adam", 0.001, "cosine", 40, 32),
)
"""The starts of a source with fewer than ``FEW_ROWS`` rows: narrow networks, whose folds train side by side."""


def default_space() -> SearchSpace:
    """The space of a study that names none."""
    return SearchSpace(parse({})[0]["space"])


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Where trials train.

    Attributes:
        slots: Trials that train at the same time; None means one per GPU, or per core without GPUs.
        trial_timeout_s: Longest time for one trial, in seconds; None means no limit.
        memory_mb: Resident memory in MB above which a worker is replaced between trials.
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
        trials: The most trials, over all runs of the study; None means no limit.
        timeout_s: The most seconds, over all runs of the study; None means no limit.
        objective: The validation metric that ranks trials; None is the task's, which the data decides.
        sampler: Optuna's sampler.
        pruner: Optuna's pruner.
        audit: Share of the trials to be pruned that train to their last epoch, drawn at random: they show what
            pruning misses.
        start: Configurations that are tried first; none of them is pruned.
        workers: Where trials train.
        has_default_starts: Whether the user gave no ``start``: the size of the source may choose others.
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
    start: tuple[Hyperparameters, ...] = ()
    workers: WorkerSettings = field(default_factory=WorkerSettings)
    has_default_starts: bool = field(default=False, compare=False)

    def is_start(self, number: int) -> bool:
        """Whether a trial has one of the ``start`` configurations."""
        return number < len(self.start)

    def for_task(self, task: Task) -> StudySpec:
        """The study with the task of its data, and the objective that it has by default.

        Raises:
            SpecError: The objective or a dimension is another task's, or the two contradict each other.
        """
        objective = fitting_objective(self.objective, task, self.space.dimensions, self.data)
        if objective == "val_loss" and "loss" in self.space.searched:
            rule = "must not be val_loss where the space searches the loss, whose values cannot be compared"
            raise SpecError(f"search.objective: {rule}: take val_rmse or val_mae, or fix space.loss")
        return replace(self, objective=objective, data=settled(self.data, task))

    def with_folds(self, n_folds: int) -> StudySpec:
        """The study with the number of folds of its data, as it is recorded."""
        return replace(self, data=replace(self.data, folds=n_folds))

    def for_rows(self, n_rows: int) -> StudySpec:
        """The study with the starts of a source of so many rows, where the user gave none."""
        if not self.has_default_starts or n_rows >= FEW_ROWS:
            return self
        starts = (self.space.complete(start.to_json())[0] for start in SMALL_STARTS)
        return replace(self, start=tuple(Hyperparameters(**values) for values in starts))

    def to_json(self) -> dict[str, Any]:
        """The study file as JSON, with every default."""
        document: dict[str, Any] = {}
        for name, owner in {"study": self, "data": self.data, "search": self, "workers": self.workers}.items():
            values = {key: getattr(owner, key) for key in TABLES[name]}
            document[name] = {key: value for key, value in values.items() if value is not None}
        return document | {"space": self.space.to_json(), "start": [start.to_json() for start in self.start]}


def fitting_objective(given: str | None, task: Task, dimensions: Iterable[str], data: DataConfig) -> str:
    """The objective of a study or a training, by default the task's.

    Args:
        given: The objective asked for.
        task: Of the data.
        dimensions: Names of the hyperparameters that are given.
        data: The dataset.

    Raises:
        SpecError: The objective, a hyperparameter or a setting of the data is another task's.
    """
    objective = OBJECTIVES[given or DEFAULT_OBJECTIVES[task]]
    rule = f"must be left out, because the task is a {task}"
    problems = [f"{name}: {rule}" for name in dimensions if TASK_DIMENSIONS.get(name, task) != task]
    if objective.task not in (task, None):
        names = ", ".join(o.name for o in OBJECTIVES.values() if o.task in (task, None))
        problems.append(f"search.objective: must be one of {names} for a {task}, got {objective.name}")
    if task == "classification" and data.target_transform is not None:
        problems.append(f"data.target_transform: {rule}")
    if problems:
        raise SpecError(problems)
    return objective.name


def settled(data: DataConfig, task: Task) -> DataConfig:
    """The data with what its defaults are for this source: its task and its scaling, as a study records them."""
    return replace(data, task=task, scaling=scaling_of(data))


def read_spec(path: str | Path) -> StudySpec:
    """Reads a study file.

    Args:
        path: A TOML file. Paths inside it are relative to the working directory.

    Raises:
        SpecError: Every problem of the file, a line each.
    """
    return spec_from_dict(load(path), str(path))


def default_spec(source: str, **options: object) -> StudySpec:
    """The study of ``run SOURCE`` without a file: the default space and known-good starts.

    Args:
        source: A built-in dataset or the path of a file.
        **options: As for ``override``; without a budget it is ``DEFAULT_TRIALS``.

    Raises:
        SpecError: An option breaks a rule.
    """
    is_table = suffix_of(Path(source)) in TABLE_SUFFIXES
    starts = [*([TABLE_START.to_json()] if is_table else []), *DEFAULT_STUDY["start"]]
    return replace(_with({"data": {"source": source}, "start": starts}, options), has_default_starts=True)


def override(spec: StudySpec, **options: object) -> StudySpec:
    """A copy of a study with some values replaced.

    Args:
        spec: The study.
        **options: Values by their key in the study file, such as ``trials`` or ``slots``; None leaves the study's.

    Raises:
        SpecError: An option breaks a rule.
    """
    return _with(spec.to_json(), options)


def spec_from_dict(document: Mapping[str, Any], place: str = "spec") -> StudySpec:
    """Checks a study given as the tables of its file.

    Args:
        document: The tables ``study``, ``data``, ``space``, ``search``, ``workers`` and ``start``.
        place: The document's name in error messages: the file's path.

    Raises:
        SpecError: Every problem of the document, a line each.
    """
    tables, problems = parse(document)
    if "study" in tables and "data" in tables:
        problems += _fill_study(tables["study"], tables["data"]["source"])
    if "data" in tables and "search" in tables:
        problems += _fill_task(tables["data"], tables["search"].get("objective"))
    if "space" in tables:
        space = SearchSpace(tables["space"])
        problems += _check_space(space, tables["space"], tables.get("search", {}).get("sampler"))
        starts = [space.complete(given) for given in tables.get("start", ())]
        problems += [f"start[{i}].{line}" for i, (_, lines) in enumerate(starts) for line in lines]
    if problems:
        raise SpecError([printable(f"{place}, {problem}") for problem in problems])
    return StudySpec(
        data=DataConfig(**tables["data"]),
        space=space,
        start=tuple(Hyperparameters(**values) for values, _ in starts),
        workers=WorkerSettings(**tables["workers"]),
        **tables["study"],
        **tables["search"],
    )


def _with(document: dict[str, Any], options: Mapping[str, object]) -> StudySpec:
    """Puts options at their place in the study file, so that one set of rules serves both."""
    for key, value in options.items():
        if value is not None:
            table = next((name for name, rules in TABLES.items() if key in rules), "study")
            document[table] = document.get(table, DEFAULT_STUDY["space"] if table == "space" else {}) | {key: value}
    return spec_from_dict(document, "options")


def _fill_study(study: Table, source: str) -> list[str]:
    """Fills in the name and the budget.

    Returns:
        The problem, if the source's name cannot be the study's.
    """
    if "timeout_s" in study:
        study.setdefault("trials", None)
    name = study.setdefault("name", stem_of(source))
    rule = f"must be given, because the source's name breaks the rule: {NAME_RULE}"
    return [] if is_name(name) else [f"study.name: {rule}, got {show(name)}"]


def _fill_task(data: Table, name: str | None) -> list[str]:
    """Fills in the task of an objective.

    Returns:
        The problem, if the study asks for another task.
    """
    task = OBJECTIVES[name].task if name else None
    if task is None:
        return []
    if data.get("task", "auto") == "auto":
        data["task"] = task
    return [] if data["task"] == task else [f"data.task: must be {task} for {name}, got {show(data['task'])}"]


def _check_space(space: SearchSpace, given: Table, sampler: str | None) -> Iterator[str]:
    """The problems of a space whose dimensions are each right."""
    if given == {}:
        yield "space: must name a dimension, got {}; leave [space] out for the default space"
    width, depth = space.highest("width"), space.highest("depth")
    weights = (depth - 1) * width**2 + 3 * width  # with one input and two classes, the fewest there can be
    if weights > MAX_WEIGHTS:
        got = f"{weights:,} with width {width} and depth {depth}, {weights * 4 / 1e9:,.0f} GB of memory"
        yield f"space.width: must keep a network at {MAX_WEIGHTS:,} weights or fewer, got {got}; lower one"
    searches_numbers = any(isinstance(d, Range) and count(d) != 1 for d in space.searched.values())
    if "momentum" in given and "sgd" not in values(space.dimensions["optimizer"]):
        yield "space.momentum: must be left out where the optimizer is never sgd"
    if sampler == "cmaes" and not searches_numbers:
        yield 'search.sampler: must not be "cmaes" without a range in the space, got "cmaes"; use "tpe"'
    if sampler == "grid":
        try:
            space.grid()
        except SpecError as error:
            yield from error.problems
