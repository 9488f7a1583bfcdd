"""The specification of a single training: one configuration on one dataset."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields

from pipelines.config import DataConfig, Hyperparameters
from pipelines.files.sources import stem_of
from search.spec.study_spec import spec_from_dict


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """One configuration on one dataset.

    Attributes:
        data: The dataset and its split.
        hyperparameters: The configuration.
        seed: Seed of the initial weights, the shuffling and the dropout.
    """

    data: DataConfig
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    seed: int = 0

    @property
    def experiment(self) -> str:
        """Name of the experiment of all trainings on this source, such as ``train-digits``."""
        return f"train-{stem_of(self.data.source)}"

    def to_json(self) -> str:
        """Returns one line that ``from_json`` reads without loss."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TrainingSpec:
        """Reads what ``to_json`` wrote."""
        document = json.loads(text)
        return cls(DataConfig(**document["data"]), Hyperparameters(**document["hyperparameters"]), document["seed"])


def default_training(source: str, **options: object) -> TrainingSpec:
    """Returns one configuration, checked by the rules of the study file.

    Args:
        source: A built-in dataset or the path of a file.
        **options: Hyperparameters, ``seed`` and what ``[data]`` takes; None counts as left out. Defaults are those
            of ``Hyperparameters()``; the learning rate is Keras's default for the optimizer.

    Raises:
        SpecError: One line for every rule that an option breaks.
    """
    given = {name: value for name, value in options.items() if value is not None}
    study = {"name": f"train-{stem_of(source)}", "seed": given.pop("seed", 0)}
    names = [f.name for f in fields(Hyperparameters) if f.name in given]
    space = {name: given.pop(name) for name in names} or {"epochs": Hyperparameters().epochs}
    spec = spec_from_dict({"study": study, "data": {"source": source, **given}, "space": space}, "options")
    return TrainingSpec(spec.data, spec.space.hyperparameters({}), spec.seed)
