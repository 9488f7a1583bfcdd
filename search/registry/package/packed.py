"""A winner as an MLflow model: the ``.h5``, preprocessing, signature, example and pinned requirements."""

from __future__ import annotations

import importlib.metadata
import logging
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.config import DataConfig
from pipelines.data.datasets import Dataset
from pipelines.evaluation.predictor import ModelRecord
from search.registry.package.example_rows import example_rows
from search.registry.package.served_code import write_code
from search.registry.versions import RECORD_FILE
from search.tracking.entries import MODEL_FILE

if TYPE_CHECKING:
    from mlflow.models import Model, ModelSignature

_REQUIRED = ("mlflow", "tensorflow", "tensorflow-cpu", "keras", "numpy", "pandas", "psutil", "h5py")


def pack(
    folder: Path,
    content: bytes,
    record: ModelRecord,
    dataset: Dataset,
    data: DataConfig,
    model: Model,
) -> Path:
    """Writes an MLflow model; returns its folder.

    One flavor serves arrays and tables: a Python function that is stored as code, not as a pickle, and loads the
    ``.h5`` only if its hash is the recorded one.

    Args:
        folder: Where to write.
        content: The bytes of the ``.h5``.
        record: The record that is saved beside it.
        dataset: The dataset it was trained on.
        data: Where the dataset is from.
        model: MLflow's ``Model`` with its run and its id.
    """
    from mlflow import pyfunc

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    model_file, record_file, packed = folder / MODEL_FILE, folder / RECORD_FILE, folder / "model"
    model_file.write_bytes(content)
    record_file.write_text(record.to_json())
    code, package = write_code(folder)
    with warnings.catch_warnings(action="ignore"):
        pyfunc.save_model(
            packed,
            python_model=str(code),
            code_paths=[str(package)],
            artifacts={"model": str(model_file), "record": str(record_file)},
            signature=signature_of(dataset),
            input_example=example_rows(data, dataset),
            pip_requirements=_requirements(),
            mlflow_model=model,
        )
    return packed


def signature_of(dataset: Dataset) -> ModelSignature:
    """The model's signature: rows as the source holds them in, class probabilities or one column of values out.

    A table's columns are of any type: a value may be missing, which makes a column of whole numbers one of fractions,
    and one of texts without any a column of numbers. MLflow's fixed types refuse one or the other.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    target = dataset.preprocessing.target
    outputs = Schema([TensorSpec(np.dtype(target.dtype if target else np.float32), (-1, dataset.n_outputs))])
    if (encoder := dataset.preprocessing.columns) is None:
        return ModelSignature(Schema([TensorSpec(dataset.training.x.dtype, (-1, *dataset.input_shape))]), outputs)
    columns = [ColSpec(AnyType(), column.name, required=True) for column in encoder.columns if column.n_features]
    return ModelSignature(Schema(columns), outputs)


def _requirements() -> list[str]:
    """The packages that a served model needs, pinned to the versions installed here."""
    pinned = []
    for name in _REQUIRED:
        with suppress(importlib.metadata.PackageNotFoundError):  # only one of TensorFlow's builds is
            pinned.append(f"{name}=={importlib.metadata.version(name)}")
    return pinned
