"""Predictions of a registered model for a file of rows, a picture, or rows from Python."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pipelines.data.preprocessing import Preprocessing
from pipelines.data.targets import TargetScaling
from pipelines.encoding.encoder import TableEncoder
from pipelines.errors import DataError, InputError, NotFoundError
from pipelines.evaluation.decisions import DEFAULT_THRESHOLD, ResidualInterval, decide, require_threshold
from pipelines.evaluation.predictor import ModelRecord, Predictor, as_rows
from pipelines.files import sources
from pipelines.files.archives import read_array, read_headers, require_memory
from pipelines.files.pictures import SUFFIXES, read_picture
from pipelines.files.sources import suffix_of
from pipelines.files.tables import SHORT, read_table
from search.home.html import HtmlResult, html_line, html_table
from search.home.read_only import readable
from search.home.settings import read_settings
from search.home.startup import prepare_inference
from search.registry import CHAMPION
from search.registry.models import registered
from search.registry.versions import RECORD_FILE
from search.tracking.connection import mlflow_errors
from search.tracking.entries import MODEL_FILE

_MOST_SHOWN = 10  # in a notebook
_GAPS = "column {!r}: missing in {:,} of {:,} rows, but in no training row; the median of those takes its place"

Encoded: TypeAlias = tuple[np.ndarray, dict[str, list[str | None]], tuple[str, ...]]
"""Rows, (n_rows, *input_shape), their unknown texts by column, and notes."""

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True, slots=True, eq=False)
class Predictions(HtmlResult):
    """The predictions of a model.

    Attributes:
        model: The registered model.
        version: Its version.
        class_names: n_classes names.
        probabilities: (n_rows, n_classes) float32; no columns for a regression.
        rows: (n_rows, *input_shape), the rows as the model takes them.
        unknown: By column of a table, the text of each row that no training row has; None for the other rows.
        threshold: Of two classes: the second is predicted where its probability is above it.
        values: (n_rows,) float64, a regression's predictions in the target's own unit; None for classes.
        low: Lower ends of their 95% intervals; None for classes, and for models that earlier versions promoted.
        high: Upper ends.
        notes: Lines on rows of a table that lack what all training rows have.
    """

    model: str
    version: int
    class_names: tuple[str, ...]
    probabilities: np.ndarray
    rows: np.ndarray
    unknown: dict[str, list[str | None]] = field(default_factory=dict)
    threshold: float = DEFAULT_THRESHOLD
    values: np.ndarray | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @property
    def numbers(self) -> np.ndarray:
        """(n_rows,) numbers of the predicted classes."""
        return decide(self.probabilities, self.threshold)

    @property
    def labels(self) -> list[str]:
        """The name of the predicted class of each row; empty for a regression."""
        return [self.class_names[number] for number in self.numbers] if self.values is None else []

    def _repr_html_(self) -> str:
        head = self.to_frame().head(_MOST_SHOWN)
        n_more = len(self.rows) - len(head)
        more = html_line(f"and {n_more:,} more; to_frame() has all") if n_more else ""
        title = html_line(f"{self.model} version {self.version}", is_strong=True)
        return title + html_table(head.to_numpy().tolist(), [str(name) for name in head.columns]) + more

    def to_frame(self) -> pd.DataFrame:
        """A row for each prediction: label, its probability, and a column for each class; or value, low and high."""
        import pandas as pd

        if self.values is not None:
            ends = {} if self.low is None else {"low": self.low, "high": self.high}
            return pd.DataFrame({"value": self.values, **ends})
        chosen = np.take_along_axis(self.probabilities, self.numbers[:, None], axis=1)[:, 0]
        frame = pd.DataFrame(self.probabilities, columns=list(self.class_names))
        frame.insert(0, "label", self.labels, allow_duplicates=True)
        frame.insert(1, "probability", chosen, allow_duplicates=True)
        return frame


def predict(
    model: str,
    source: str | Path | np.ndarray | pd.DataFrame,
    *,
    invert: bool = False,
    threshold: float | str | None = None,
    home: Path | None = None,
) -> Predictions:
    """Classes and probabilities for one example or many; or a regression's values with their intervals.

    Args:
        model: ``NAME``, ``NAME@ALIAS`` or ``NAME/VERSION``, also after ``models:/``; by default its ``champion``.
        source: A ``.npz`` with the rows as ``x``, a ``.csv`` or ``.parquet`` table, a PNG or JPEG; or, from Python,
            the rows themselves. Rows are as in the dataset's own source: nothing is to be scaled.
        invert: For pictures: whether dark and light are swapped first.
        threshold: For two classes: the second is predicted above this probability, 0.5 by default. ``auto`` is the
            threshold that was the best on the validation rows.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` by default.

    Raises:
        NotFoundError: There is no such model, version, alias or file.
        DataError: The model does not take these rows, or has no threshold.
        InputError: The model file was changed since it was promoted, or Keras refuses it.
        UnavailableError: The registry cannot be used.
    """
    if isinstance(source, str | Path):
        _require_file(Path(source), invert=invert)
    version, content, record = _fetch(model, home)
    what = f"{version.name} version {version.version}"
    limit = DEFAULT_THRESHOLD if threshold is None else _threshold(threshold, record, what)
    rows, unknown, notes = _read(source, record, invert=invert)
    prepare_inference()
    outputs = Predictor.load(content, record, f"{what}, {MODEL_FILE}").probabilities(rows)
    classes = record.preprocessing.class_names
    is_finite = np.isfinite(outputs).all(axis=1)
    if not is_finite.all():
        row = int(is_finite.argmin())
        found = outputs[row][~np.isfinite(outputs[row])][0]
        raise DataError(f"{what}: must predict finite numbers, got {found} for row {row}: correct the row")
    found = Predictions(version.name, int(version.version), classes, outputs, rows, unknown, limit, notes=notes)
    target = record.preprocessing.target
    return found if target is None else _as_values(found, record.interval, target)


def _as_values(found: Predictions, interval: ResidualInterval | None, target: TargetScaling) -> Predictions:
    """A regression's predictions, whose outputs are values, with their intervals."""
    values = found.probabilities[:, 0].astype(np.float64)
    low, high = interval.around(values, target) if interval else (None, None)
    nothing = np.empty((len(values), 0), np.float32)
    return replace(found, probabilities=nothing, threshold=DEFAULT_THRESHOLD, values=values, low=low, high=high)


def _threshold(given: float | str, record: ModelRecord, model: str) -> float:
    """The threshold that a user asked for.

    Raises:
        DataError: It is no probability, the model has not two classes, or keeps no threshold.
    """
    n_classes = len(record.preprocessing.class_names)
    if given != "auto":
        try:
            return require_threshold(float(given), n_classes, "--threshold")
        except (TypeError, ValueError) as error:
            raise DataError(f"--threshold: must be auto or a number, got {given!r}") from error
    require_threshold(DEFAULT_THRESHOLD, n_classes, "--threshold")
    if record.threshold is None:
        raise DataError(f"--threshold: must be a number for {model}, which has no stored threshold, got 'auto'")
    return record.threshold.value


def _fetch(model: str, home: Path | None) -> tuple[ModelVersion, bytes, ModelRecord]:
    """A version of a model, its model file and the record that was saved with it."""
    name, number, alias = _parsed(model)
    with mlflow_errors(f"model {name!r}"), readable(read_settings(home)) as settings:
        versions = registered(settings, name, alias)
        version = versions.champion() if number is None else versions.numbered(number)
        if version is None:
            aliases = ", ".join(sorted(versions.aliases())) or "none: promote a study, or call rollback"
            hint = f"; version {alias} is {name}/{alias}" if alias.isdecimal() else ""
            raise NotFoundError(f"model {name!r}: must have the alias {alias!r}; there is {aliases}{hint}")
        record = ModelRecord.from_json(versions.file(version, RECORD_FILE).decode())
        # The hash in the database counts: whoever can change the files may not be able to change that.
        record = replace(record, model_sha256=version.tags.get("model_sha256", ""))
        return version, versions.file(version, MODEL_FILE), record


def _parsed(model: str) -> tuple[str, str | None, str]:
    """The name, the number of the version or None, and the alias of ``NAME[@ALIAS]`` or ``NAME/VERSION``."""
    if not isinstance(model, str):
        raise InputError(f"model: must be the name of a registered model, got {model!r}")
    model = model.removeprefix("models:/")
    name, slash, number = model.partition("/")  # MLflow allows no name with a slash
    if slash:
        return name, number, ""
    name, _, alias = model.rpartition("@") if "@" in model else (model, "", CHAMPION)
    return name, None, alias


def _require_file(path: Path, *, invert: bool) -> None:
    """Checks whether a file can be an input, before anything is fetched.

    Raises:
        DataError: Files of this kind are not read, or it is no picture and cannot be inverted.
        NotFoundError: There is no such file.
    """
    suffix = suffix_of(path)
    known = (*sources.SUFFIXES, *SUFFIXES)
    if suffix not in known:
        raise DataError(f"{path}: must end in {', '.join(known)}")
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file: check the path")
    if invert and suffix not in SUFFIXES:
        raise DataError(f"--invert: only pictures have light and dark, got {path}: leave it out")


def _read(source: object, record: ModelRecord, *, invert: bool) -> Encoded:
    """The rows of a frame, an array or a path."""
    preprocessing = record.preprocessing
    is_archive = isinstance(source, str | os.PathLike) and Path(source).suffix.lower() == ".npz"
    is_array = is_archive or isinstance(source, np.ndarray)
    if is_array and preprocessing.columns is not None:  # the model file takes encoded features of the same shape
        raise DataError("rows: must be a table, as the model was trained on one, got an array: give a file or a frame")
    if invert and not isinstance(source, str | os.PathLike):
        raise DataError("invert: only files of pictures have light and dark, got rows: leave it out, or invert them")
    if isinstance(source, np.ndarray):
        return as_rows(source, preprocessing), {}, ()
    if not isinstance(source, str | os.PathLike):
        import pandas as pd

        if not isinstance(source, pd.DataFrame):
            kind = type(source).__name__
            raise DataError(f"rows: must be a pandas DataFrame, an array or a path, got {kind}: make a DataFrame of it")
        return _encode(source, preprocessing)
    path = Path(source)
    if path.suffix.lower() in SUFFIXES:
        if preprocessing.columns is not None:  # its number of features may be that of a picture by chance
            raise DataError("model: must take pictures to be given one, but was trained on a table: give it a table")
        return read_picture(path, preprocessing.input_shape, record.value_range, invert=invert), {}, ()
    try:
        if path.suffix.lower() == ".npz":
            return as_rows(_read_npz(path), preprocessing, "x"), {}, ()
        columns = preprocessing.columns or TableEncoder(())
        frame = columns.in_own_form(read_table(path, columns.text_columns, columns.literal_columns))
        return _encode(frame, preprocessing)
    except DataError as error:
        raise DataError([p if p.startswith(str(path)) else f"{path}: {p}" for p in error.problems]) from error


def _encode(frame: pd.DataFrame, preprocessing: Preprocessing) -> Encoded:
    if not len(frame):
        raise DataError("rows: must hold rows to predict, got none: add some")
    frame = frame.rename(columns=str)  # as ``save_data`` and files name columns
    rows = preprocessing.encode(frame)
    columns = preprocessing.columns or TableEncoder(())
    short = frame.attrs.get("short", ())
    notes = [SHORT.format(len(short), short[0])] if short else []
    notes += [_GAPS.format(name, n_missing, len(frame)) for name, n_missing in columns.gaps(frame).items()]
    return rows, columns.unknown(frame), tuple(notes)


def _read_npz(path: Path) -> np.ndarray:
    headers = read_headers(path)
    if "x" not in headers:
        names = ", ".join(headers) or "none"
        raise DataError(f"must hold its rows as x, got {names}: save them with np.savez(path, x=...)")
    if headers["x"].dtype.hasobject:
        raise DataError("x must not hold pickled objects, which are never opened: save plain numbers")
    require_memory(path, headers["x"].n_bytes_kept)
    return read_array(path, "x", headers["x"])[0]
