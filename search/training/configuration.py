"""The specification of a single training: one configuration on one dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from pipelines.config import UNNAMED, AskedPrecision, DataConfig, Hyperparameters
from pipelines.files.sources import stem_of
from pipelines.objectives import DEFAULT_OBJECTIVES, Task
from search.spec.reading import checked_source, spec_from_dict
from search.spec.study_spec import NOTHING, drawn_as_then, fitting_objective, settled
from search.tracking.run_names import TRAININGS


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """One configuration on one dataset.

    Attributes:
        data: The dataset and its split.
        hyperparameters: The configuration.
        seed: Seed of the initial weights, the shuffling and the dropout.
        objective: The validation metric that picks the best epoch; None is the task's, which the data decides.
        precision: Of the matrix products in training; None and ``auto`` are settled when it begins.
    """

    data: DataConfig
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    seed: int = 0
    objective: str | None = None
    precision: AskedPrecision | None = None

    @property
    def metric(self) -> str:
        """The validation metric that picks the best epoch; the accuracy where no task has settled one."""
        return self.objective or DEFAULT_OBJECTIVES["classification"]

    @property
    def experiment(self) -> str:
        """Name of the experiment of all trainings on this source, such as ``train-digits``."""
        return TRAININGS + stem_of(self.data.source)

    @property
    def task(self) -> Task:
        """The type of the target; known once the data was read."""
        return "regression" if self.data.task == "regression" else "classification"

    @property
    def shift(self) -> int:
        """The most pixels by which it moves pictures."""
        return self.hyperparameters.shift or 0

    def for_task(self, task: Task, unfit: Mapping[str, str] = NOTHING) -> TrainingSpec:
        """Returns the configuration with the task of its data, and the objective that it has by default.

        Args:
            task: Of the data.
            unfit: Hyperparameters and objectives that have no meaning for the data, by name, each with the reason.

        Raises:
            SpecError: The objective or a hyperparameter is another task's, or does not fit the data.
        """
        given = self.hyperparameters.to_json().items()
        named = [name for name, value in given if name not in UNNAMED or value != UNNAMED[name]]
        objective = fitting_objective(self.objective, task, named, self.data, unfit)
        return replace(self, objective=objective, data=settled(self.data, task))

    def to_json(self) -> str:
        """Returns one line that ``from_json`` reads without loss."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TrainingSpec:
        """Reads what ``to_json`` wrote."""
        document = json.loads(text)
        if "objective" not in document:  # written before there were regressions
            document["data"]["task"], document["objective"] = "classification", "val_accuracy"
        hyperparameters = Hyperparameters(**document["hyperparameters"])
        if "groups" in document["data"]:  # the first name of the key
            document["data"]["group"] = document["data"].pop("groups")
        precision = document.get("precision", "float32")  # in which earlier versions trained
        data = drawn_as_then(DataConfig(**document["data"]))
        return cls(data, hyperparameters, document["seed"], document["objective"], precision)


def default_training(source: str | Path, **options: object) -> TrainingSpec:
    """Returns one configuration, checked by the rules of the study file.

    Args:
        source: A built-in dataset or the path of a file.
        **options: Hyperparameters, ``seed``, ``objective``, ``precision`` and what ``[data]`` takes; None counts as
            left out. Defaults are those of ``Hyperparameters()``; the learning rate is Keras's for the optimizer.

    Raises:
        SpecError: One line for every rule that an option breaks.
    """
    source = checked_source(source)
    given = {name: value for name, value in options.items() if value is not None}
    study = {"name": TRAININGS + stem_of(source), "seed": given.pop("seed", 0)}
    names = [f.name for f in fields(Hyperparameters) if f.name in given]
    space = {name: given.pop(name) for name in names} or {"epochs": Hyperparameters().epochs}
    search = {"objective": given.pop("objective", None)}
    workers = {"precision": given.pop("precision", None)}
    others = {"space": space, "search": search, "workers": workers}
    document = {"study": study, "data": {"source": source, **given}, **others}
    spec = spec_from_dict(document, "options")
    return TrainingSpec(spec.data, spec.space.hyperparameters({}), spec.seed, spec.objective, spec.workers.precision)
