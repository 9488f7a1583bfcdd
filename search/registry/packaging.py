"""A winner as an MLflow model: its ``.h5``, its preprocessing, a signature, an example, pinned requirements."""

from __future__ import annotations

import importlib.metadata
import logging
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import pipelines
from pipelines.config import DataConfig
from pipelines.data.datasets import Dataset
from pipelines.evaluation.predictor import ModelRecord
from pipelines.files.tables import read_table
from pipelines.training.history import sha256
from search.tracking.entries import MODEL_FILE
from search.tracking.experiment_view import plain

RECORD_FILE = "record.json"
ARTIFACTS = "artifacts"
"""The folder of a model that holds the files above."""
_REQUIRED = ("mlflow", "tensorflow", "tensorflow-cpu", "keras", "numpy", "pandas", "psutil", "h5py")
_N_EXAMPLES = 2


def pack(folder: Path, content: bytes, dataset: Dataset, example: Any, model: Any) -> None:
    """Writes an MLflow model into a folder.

    One flavour serves arrays and tables alike: a Python function that is code, not a pickle, and that loads the
    ``.h5`` only where its hash is the recorded one.

    Args:
        folder: Where; it must not exist.
        content: The bytes of the ``.h5``.
        dataset: What it was trained on.
        example: Rows as their source holds them, an array or a table.
        model: MLflow's ``Model``, which knows its run and its id.
    """
    from mlflow import pyfunc

    x = dataset.training.x
    record = ModelRecord(dataset.preprocessing, (float(x.min()), float(x.max())), sha256(content))
    files = {MODEL_FILE: content, RECORD_FILE: record.to_json().encode()}
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, data in files.items():
            Path(scratch, name).write_bytes(data)
        paths = {Path(name).stem: str(Path(scratch, name)) for name in files}
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        pyfunc.save_model(
            folder,
            python_model=str(Path(__file__).with_name("served_model.py")),
            code_paths=[str(Path(pipelines.__file__).parent)],
            artifacts=paths,
            signature=signature(dataset),
            input_example=example,
            pip_requirements=requirements(),
            mlflow_model=model,
        )


def signature(dataset: Dataset) -> Any:
    """Rows as the source holds them to class probabilities.

    A number may be missing, and a column of whole numbers becomes one of fractions where one is: MLflow's fixed
    types would refuse the one or the other, so a table's numbers are of any type.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    outputs = Schema([TensorSpec(np.dtype(np.float32), (-1, dataset.n_classes))])
    if (encoder := dataset.preprocessing.columns) is None:
        return ModelSignature(Schema([TensorSpec(dataset.training.x.dtype, (-1, *dataset.input_shape))]), outputs)
    columns = [
        ColSpec(DataType.string if column.kind == "category" else AnyType(), column.name, required=False)
        for column in encoder.columns
        if column.n_features
    ]
    return ModelSignature(Schema(columns), outputs)


def example_rows(config: DataConfig, dataset: Dataset) -> Any:
    """The first training rows as their source holds them."""
    if (encoder := dataset.preprocessing.columns) is None:
        return dataset.training.x[:_N_EXAMPLES]
    used = [column.name for column in encoder.columns if column.n_features]
    frame = read_table(Path(config.source).expanduser(), encoder.text_columns)[used]
    encoded = encoder.encode(frame)
    known = {row.tobytes() for row in dataset.training.x[:_N_EXAMPLES]}  # a test row is not shown to anybody
    return frame[[row.tobytes() in known for row in encoded]].head(_N_EXAMPLES).reset_index(drop=True)


def requirements() -> list[str]:
    """What a served model needs, pinned to what is installed here."""
    pinned = []
    for name in _REQUIRED:
        with suppress(importlib.metadata.PackageNotFoundError):  # one of TensorFlow's builds is not there
            pinned.append(f"{name}=={importlib.metadata.version(name)}")
    return pinned


def model_card(tags: Mapping[str, str], dataset: Dataset, source: str, params: Mapping[str, Any]) -> str:
    """The description of a version, in Markdown.

    Args:
        tags: The version's own.
        dataset: What it was trained on.
        source: Where the dataset is from.
        params: The configuration.
    """
    interval = tags.get("test_interval", "")
    accuracy = f"{float(tags['test_accuracy']):.4f} (95% interval {interval})" if interval else "not measured"
    times = "once" if tags["seal_opened"] == "1" else f"{tags['seal_opened']} times"
    rows = f"{len(dataset.training.y):,} training, {len(dataset.validation.y):,} validation, {dataset.n_test:,} test"
    shape = " x ".join(map(str, dataset.input_shape))
    names = ", ".join(plain(name) for name in dataset.class_names[:20])
    more = f" and {dataset.n_classes - 20} more" if dataset.n_classes > 20 else ""
    table = "\n".join(
        f"| {name} | {f'{value:.4g}' if isinstance(value, float) else value} |" for name, value in params.items()
    )
    return f"""# {plain(dataset.name)}: an MLP found by search

**Test accuracy** {accuracy}; validation accuracy {float(tags["val_accuracy"]):.4f}; the sealed test was opened
{times}.

**Use.** Takes rows as `{plain(Path(source).name)}` holds them ({shape} values a row; scaling and encoding are in the
model) and gives a probability for each of {dataset.n_classes} classes: {names}{more}.

**Data.** Rows: {rows}. Fingerprint `{tags["fingerprint"]}`. It knows nothing but what is in these rows: measure it
on your own before you rely on it.

**Training.** Study `{plain(tags["study"])}`, trial {tags["trial"]}, role {tags["role"]}, run `{tags["run_id"]}`,
seeds {tags["seeds"]}.

| hyperparameter | value |
| --- | --- |
{table}

**Gate.** {plain(tags["gate"])}
"""
