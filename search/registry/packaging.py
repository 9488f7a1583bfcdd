"""A winner as an MLflow model: its ``.h5``, preprocessing, signature, example, pinned requirements and card."""

from __future__ import annotations

import importlib.metadata
import logging
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import pipelines
from pipelines.config import DataConfig
from pipelines.data.datasets import Dataset
from pipelines.evaluation.predictor import ModelRecord
from pipelines.files.tables import read_table
from pipelines.training.history import sha256
from search.finals.readings import times
from search.tracking.entries import MODEL_FILE
from search.tracking.experiment_view import plain

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import Model, ModelSignature

RECORD_FILE = "record.json"
ARTIFACTS = "artifacts"
"""The folder of an MLflow model that holds the files above."""
_REQUIRED = ("mlflow", "tensorflow", "tensorflow-cpu", "keras", "numpy", "pandas", "psutil", "h5py")
_N_EXAMPLES = 2


def pack(folder: Path, content: bytes, dataset: Dataset, example: np.ndarray | pd.DataFrame, model: Model) -> None:
    """Writes an MLflow model into a folder.

    One flavour serves arrays and tables: a Python function that is stored as code, not as a pickle, and loads the
    ``.h5`` only if its hash is the recorded one.

    Args:
        folder: The folder to make; it must not exist.
        content: The bytes of the ``.h5``.
        dataset: The dataset it was trained on.
        example: Rows as their source holds them, an array or a table.
        model: MLflow's ``Model`` with its run and its id.
    """
    from mlflow import pyfunc

    x = dataset.training.x
    record = ModelRecord(dataset.preprocessing, (float(x.min()), float(x.max())), sha256(content))
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings(action="ignore"):
        model_file, record_file = Path(scratch, MODEL_FILE), Path(scratch, RECORD_FILE)
        model_file.write_bytes(content)
        record_file.write_text(record.to_json())
        pyfunc.save_model(
            folder,
            python_model=str(Path(__file__).with_name("served_model.py")),
            code_paths=[str(Path(pipelines.__file__).parent)],
            artifacts={"model": str(model_file), "record": str(record_file)},
            signature=signature(dataset),
            input_example=example,
            pip_requirements=requirements(),
            mlflow_model=model,
        )


def signature(dataset: Dataset) -> ModelSignature:
    """The model's signature: rows as the source holds them in, class probabilities out.

    A table's numbers are of any type: one may be missing, which makes a column of whole numbers one of fractions, and
    each of MLflow's fixed types refuses one or the other.
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


def example_rows(config: DataConfig, dataset: Dataset) -> np.ndarray | pd.DataFrame:
    """The first training rows as their source holds them."""
    if (encoder := dataset.preprocessing.columns) is None:
        return dataset.training.x[:_N_EXAMPLES]
    used = [column.name for column in encoder.columns if column.n_features]
    frame = read_table(Path(config.source).expanduser(), encoder.text_columns)[used]
    encoded = encoder.encode(frame)
    # Found by their values among all rows of the file: its first rows may be test rows, which nobody is shown.
    known = {row.tobytes() for row in dataset.training.x[:_N_EXAMPLES]}
    return frame[[row.tobytes() in known for row in encoded]].head(_N_EXAMPLES).reset_index(drop=True)


def requirements() -> list[str]:
    """The packages that a served model needs, pinned to the versions installed here."""
    pinned = []
    for name in _REQUIRED:
        with suppress(importlib.metadata.PackageNotFoundError):  # only one of TensorFlow's builds is
            pinned.append(f"{name}=={importlib.metadata.version(name)}")
    return pinned


def model_card(tags: Mapping[str, str], dataset: Dataset, source: str, params: Mapping[str, object]) -> str:
    """The description of a version, in Markdown.

    Args:
        tags: The version's own.
        dataset: The dataset it was trained on.
        source: Where the dataset is from.
        params: The configuration.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # The card is Markdown, not HTML: names that come from data go through the filter "plain".
    loader = PackageLoader("search.registry", ".")
    environment = Environment(loader=loader, undefined=StrictUndefined)  # noqa: S701
    environment.filters |= {"plain": plain, "times": times}
    card = environment.get_template("model_card.md.j2")
    return card.render(tags=tags, dataset=dataset, source=Path(source).name, params=params)
