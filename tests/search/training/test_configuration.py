"""The specification of a single training."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.config import DataConfig, Hyperparameters, layers
from pipelines.errors import SpecError
from search.training.configuration import TrainingSpec, default_training


def test_a_specification_survives_its_record() -> None:
    data = DataConfig("a.csv", "kind", 0.3, 0.1, "none", 7)
    spec = TrainingSpec(data, Hyperparameters(learning_rate=0.1 + 0.2), 5)
    assert TrainingSpec.from_json(spec.to_json()) == spec


def test_a_record_with_the_first_name_of_a_key_is_read() -> None:
    """Earlier versions, which recorded no draw of groups, held back the largest first."""
    spec = TrainingSpec(DataConfig("a.csv", group="patient"), Hyperparameters(), 5)
    then = TrainingSpec.from_json(spec.to_json().replace('"group"', '"groups"'))
    assert then == replace(spec, data=replace(spec.data, group_draw="largest_first"))


def test_a_record_of_an_earlier_version_is_in_float32() -> None:
    spec = TrainingSpec(DataConfig("a.csv"), Hyperparameters(), 5, "val_accuracy", "float32")
    assert TrainingSpec.from_json(spec.to_json().replace(', "precision": "float32"', "")) == spec


def test_the_rate_is_keras_own_for_the_optimizer() -> None:
    assert default_training("digits", optimizer="sgd").hyperparameters.learning_rate == 0.01
    assert default_training("digits").hyperparameters == Hyperparameters()


def test_every_error_is_reported_at_once() -> None:
    with pytest.raises(SpecError) as error:
        default_training("digits", width=0, dropout=2.0, scaling="log")
    assert len(error.value.problems) == 3


def test_the_layers_of_the_tutorials_network() -> None:
    found = layers(Hyperparameters(width=512, depth=2), n_features=784, n_outputs=10)
    names = ["flatten", "scaling", "hidden_1", "dropout_1", "hidden_2", "dropout_2", "classes"]
    assert [layer.name for layer in found] == names
    assert sum(layer.n_parameters for layer in found) == 669_706
    assert found[-1].n_outputs == 10
