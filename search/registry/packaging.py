"""The files of a promoted model: its code, and the record of the meaning of its predictions.

The code is a package whose name no program of its user has.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

import pipelines
from pipelines.config import DataConfig
from pipelines.data.datasets import Dataset
from pipelines.evaluation.decisions import ResidualInterval, Threshold
from pipelines.evaluation.metrics import SHOWN_METRICS
from pipelines.evaluation.predictor import ModelRecord, Predictor
from pipelines.training.history import sha256
from search.finals.winner import Winner, fetch_model, measured_winner
from search.home.settings import Settings
from search.home.startup import prepare_inference
from search.home.text import times, value_text
from search.optimization.leaderboard import objective_of
from search.registry.versions import tagged
from search.storage.stored_study import StoredStudy
from search.tracking.entries import MODEL_FILE
from search.tracking.experiment_view import plain

if TYPE_CHECKING:
    from mlflow import MlflowClient

_IMPORT = re.compile(r"^(\s*(?:from|import) )pipelines\b", re.MULTILINE)


def write_code(folder: Path) -> tuple[Path, Path]:
    """Copies ``pipelines`` and the file that serves a model, with their imports rewritten.

    ``mlflow.pyfunc.load_model`` puts the copy first on the importing program's path, where a package called
    ``pipelines`` would hide the program's own. The name holds a hash of the code, so that models which different
    versions of this project promoted can be loaded into one program.

    Args:
        folder: Where to write.

    Returns:
        The file for MLflow's ``python_model``, and the package for its ``code_paths``.
    """
    source = Path(pipelines.__file__).parent
    files = {path.relative_to(source): path.read_text() for path in sorted(source.rglob("*.py"))}
    name = f"mlp_search_model_{sha256(repr(files).encode())[:8]}"
    package, served = folder / name, Path(__file__).with_name("served_model.py")
    for path, text in files.items():
        target = package / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_rename(text, name))
    code = folder / served.name
    code.write_text(_rename(served.read_text(), name))
    return code, package


def make_record(
    client: MlflowClient, settings: Settings, study: StoredStudy, winner: Winner, dataset: Dataset
) -> ModelRecord:
    """The record that is saved beside a winner's model file.

    A regression's has the interval of its predictions, that of two classes a threshold; both from the validation rows.
    With folds they are from all rows, each predicted by the network that was not trained on it.

    Raises:
        InputError: The model file was changed.
        UnavailableError: MLflow does not have the file.
    """
    x, validation = dataset.fitted.x, dataset.scored
    preprocessing, span = dataset.preprocessing, (float(x.min()), float(x.max()))
    plain = ModelRecord(preprocessing, span, winner.model_sha256)
    if preprocessing.target is None and dataset.n_outputs != 2:
        return plain
    measured = measured_winner(study, winner)
    content = fetch_model(client, settings.spool, study.study_name, measured)
    prepare_inference()
    place = f"{MODEL_FILE} of run {measured.run_id}"
    predictor = Predictor.load(content, replace(plain, model_sha256=measured.model_sha256), place)
    fold_of = dataset.fold_of
    outputs = predictor.probabilities(validation.x) if fold_of is None else predictor.of_folds(validation.x, fold_of)
    if preprocessing.target is None:
        metric = objective_of(study.user_attrs).metric
        return replace(plain, threshold=Threshold.learn(outputs[:, 1], validation.y, metric, validation.weight))
    with np.errstate(divide="ignore"):
        predicted = preprocessing.target.encode(outputs[:, 0].astype(np.float64))
    return replace(plain, interval=ResidualInterval.learn(validation.y, predicted, validation.weight))


@dataclass(frozen=True, slots=True)
class Usage:
    """The address and the name of a version.

    Attributes:
        uri: The address of this very model.
        alias_uri: The address of the version that the alias points at.
        figure: The path of the figure of its held-out test among the files of its run; None without one.
    """

    uri: str
    alias_uri: str
    figure: str | None = None


_MAX_CARD = 5000
"""Characters of a description in MLflow's tables on PostgreSQL."""
_MAX_CLASSES, _NAMES_LENGTH = 20, 1000


def model_card(
    tags: Mapping[str, str], dataset: Dataset, data: DataConfig, winner: Winner, record: ModelRecord, use: Usage
) -> str:
    """The description of a version, in Markdown.

    Args:
        tags: The version's own.
        dataset: The dataset it was trained on.
        data: Where the dataset is from.
        winner: The model.
        record: The record that is saved beside it.
        use: How it is loaded and shown.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # The card is Markdown, not HTML: names that come from data go through the filter "plain".
    loader = PackageLoader("search.registry", ".")
    environment = Environment(loader=loader, undefined=StrictUndefined)  # noqa: S701
    environment.filters |= {"plain": plain, "times": times, "value_text": value_text}
    known = {name: tagged(tags, f"test_{name}") for name in dict.fromkeys((winner.objective.metric, *SHOWN_METRICS))}
    card = environment.get_template("model_card.md.j2").render(
        tags=tags,
        dataset=dataset,
        class_names=_shown_names(dataset.class_names),
        source=Path(data.source).name,
        target=data.target,
        params=winner.candidate.hyperparameters.to_json(),
        objective=winner.objective,
        record=record,
        measures=[(name.replace("_", " "), value) for name, value in known.items() if value is not None],
        ends=_ends(record),
        use=use,
        # MLflow's page takes an address without a server from its own.
        figure=use.figure and f"get-artifact?path={quote(use.figure, safe='')}&run_uuid={winner.run_id}",
    )
    return card if len(card) <= _MAX_CARD else f"{card[: _MAX_CARD - 1]}…"


def _shown_names(names: Sequence[str]) -> list[str]:
    """The first names of classes, in Markdown, as far as the card has room for them."""
    shown = list(map(plain, names[:_MAX_CLASSES]))
    ends = itertools.accumulate(len(name) + 2 for name in shown)
    return [name for name, end in zip(shown, ends, strict=True) if end <= _NAMES_LENGTH]


def _ends(record: ModelRecord) -> tuple[float, float] | None:
    """The ends of the interval around a prediction: added to it, or with a logarithm factors of it.

    With another transform they depend on the prediction: None.
    """
    interval, target = record.interval, record.preprocessing.target
    if interval is None or target is None or target.transform not in ("none", "log"):
        return None
    low, high = interval.low * target.scale, interval.high * target.scale
    return (math.exp(low), math.exp(high)) if target.transform == "log" else (low, high)


def _rename(text: str, name: str) -> str:
    return _IMPORT.sub(rf"\g<1>{name}", text)
