"""The target of a dataset: which task it is, class numbers of labels, and the scaling of a regression's values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.config import DataConfig, Transform
from pipelines.errors import DataError
from pipelines.files.archives import Array
from pipelines.files.text_forms import DATE_FORMATS, parse
from pipelines.objectives import Task

if TYPE_CHECKING:
    from pipelines.files.text_forms import Series

MAX_CLASSES = 20
"""Whole numbers with at most so many different values are classes."""
MIN_COUNTED = 5
"""So many different whole numbers are counts, not classes, where one is in fewer rows than each class must have."""
MAX_NUMBERED, MIN_ROWS = 1000, 10
"""Class numbers from 0 or 1 without a gap are classes up to so many, where each has so many rows."""
_MIN_REGRESSION_ROWS = 10
_N_LISTED = 5
_REGRESSION = "{}: {:,} different numbers, so the task is a regression{}"
_CHOOSE = '; task = "classification" in [data] (--task) makes each number a class'
_CUT = "; to classify, cut the numbers into classes and name that column as the target"
_CLASSIFICATION = (
    '{}: {:,} different whole numbers, so the task is a classification; task = "regression" in [data] (--task) predicts'
    " the number"
)
_FORMS = "{}: {:,} different texts, so the task is a classification, though they are {}"
_REGRESS = 'use task = "regression" in [data] (--task) to predict the number'
_DATES = 'dates, such as {!r}: to predict one, write it as a number of days and use task = "regression" (--task)'
_UNITS = "numbers with a unit, such as {!r}: to predict the number, write it without the unit"
_CONVERT = {
    **dict.fromkeys(("datetime64", "datetime", "date"), "convert them to numbers, such as days, or to classes"),
    **dict.fromkeys(("timedelta64", "timedelta"), "convert them to numbers, such as seconds"),
}
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_NUMBER_AND_UNIT = re.compile(r"[<>~=\u2248]?\s*[-+]?\d[\d.,]*\s*\D{1,8}")
_N_SAMPLED = 100


def labels_of_column(column: Series, task: str | None, place: str, required: int = 1) -> tuple[Task, Array]:
    """Returns the task and the (n_rows,) labels in a table's target column; the parameters are as in ``clean_labels``.

    Raises:
        DataError: Labels are missing, of mixed types, or do not fit the task.
    """
    import pandas as pd
    from pandas.api.types import infer_dtype

    n_missing = int(column.isna().sum())
    if n_missing:
        raise DataError(f"{place}: every row must have a label, got {n_missing} empty, NA or None: fill or drop them")
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":  # a list would take several times the memory
        return clean_labels(column.to_numpy(), task, place, required)
    if isinstance(column.dtype, pd.StringDtype):
        codes, texts = pd.factorize(column)
        return clean_labels(np.array(texts.tolist())[codes], task, place)
    values = column.tolist()
    kind = infer_dtype(values)
    if kind == "decimal":
        values, kind = [float(value) for value in values], "floating"
    if kind not in {"string", "boolean", "integer", "floating", "mixed-integer-float"}:
        remedy = _CONVERT.get(kind, "convert them")
        raise DataError(f"{place}: labels must be all numbers or all text, got {kind} values: {remedy}")
    return clean_labels(np.array(values), task, place, required)


def clean_labels(labels: Array, task: str | None, place: str, required: int = 1) -> tuple[Task, Array]:
    """Decides the task, unless it is given, and converts (n_rows,) or (n_rows, 1) labels.

    Text, booleans and few whole numbers classify; real numbers and many whole numbers regress.

    Args:
        labels: Numbers or texts.
        task: ``classification`` or ``regression``; None and ``auto`` decide by the labels.
        place: Name of the labels in errors.
        required: Rows that each class must have, one for each split.

    Returns:
        The task, and (n_rows,) integers or texts without blanks around them to classify, or float64 to regress.

    Raises:
        DataError: The labels do not fit the task, are not finite, not UTF-8 or missing.
    """
    labels = labels.reshape(-1)
    n_missing = np.count_nonzero(np.isnan(labels)) if labels.dtype.kind == "f" else 0
    if n_missing:
        raise DataError(f"{place}: every row must have a label, got {n_missing} NaN: fill or drop them")
    is_number = labels.dtype.kind in "iuf"
    if task == "regression" or (task != "classification" and is_number and not are_classes(labels, required)):
        return "regression", _as_values(labels, place)
    return "classification", _as_classes(labels, place)


def are_classes(labels: Array, required: int = 1) -> bool:
    """Whether numbers are classes: whole ones with few values, or class numbers without a gap.

    From ``MIN_COUNTED`` values on, each must be in the required number of rows.
    """
    if labels.dtype.kind == "f" and not _are_whole(labels).all():
        return False
    values, counts = np.unique(labels, return_counts=True)
    if len(values) >= MIN_COUNTED and counts.min() < required:
        return False
    is_numbered = len(values) <= MAX_NUMBERED and counts.min() >= MIN_ROWS and values[0] in (0, 1)
    return len(values) <= MAX_CLASSES or bool(is_numbered and values[-1] - values[0] == len(values) - 1)


def _are_whole(labels: Array) -> Array:
    return np.asarray(np.isfinite(labels) & (labels == np.floor(labels)) & (np.abs(labels) < 2**53))


def _as_values(labels: Array, place: str) -> Array:
    if labels.dtype.kind not in "biuf":
        raise DataError(f"{place}: a regression must have numbers as its target, got text such as {str(labels[0])!r}")
    values = labels.astype(np.float64)
    with np.errstate(over="ignore"):
        n_wrong = np.count_nonzero(~np.isfinite(values.astype(np.float32)))
    if n_wrong:
        raise DataError(f"{place}: must hold finite float32 numbers, got {n_wrong} infinite: drop those rows")
    return values


def _as_classes(labels: Array, place: str) -> Array:
    if labels.dtype.kind == "f":
        whole = _are_whole(labels)
        if not whole.all() and np.isfinite(labels).all() and len(values := np.unique(labels)) <= MAX_CLASSES:
            names = np.array([f"{value:.15g}" for value in values])  # such as half stars
            return names[np.searchsorted(values, labels)]
        if not whole.all():
            found = f"{labels[~whole][0]} ({np.count_nonzero(~whole)} such rows)"
            rule = f"labels of a classification must be whole numbers or text, or {MAX_CLASSES} numbers at most"
            raise DataError(f'{place}: {rule}, got {found}: cut a quantity into classes, or use task = "regression"')
        return labels.astype(np.int64)
    if labels.dtype.kind in "SU":
        return _clean_texts(labels, place)
    return labels if labels.dtype.kind in "iu" else labels.astype(str)


def _clean_texts(labels: Array, place: str) -> Array:
    try:
        texts = np.char.strip(np.char.decode(labels, "utf-8") if labels.dtype.kind == "S" else labels)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(f"{place}: labels must be UTF-8 text, got byte 0x{byte:02x}: save them as text") from error
    n_missing = np.count_nonzero(texts == "")
    if n_missing:
        raise DataError(f"{place}: every row must have a label, got {n_missing} empty ones: fill or drop them")
    return texts


def task_note(task: Task, labels: Array, place: str, asked: str | None = None) -> list[str]:
    """Returns the line that says which task the values of a target decided, and how to choose otherwise.

    Args:
        task: The task.
        labels: (n_rows,) cleaned labels.
        place: Name of the labels.
        asked: The task that the user asked for; None and ``auto`` for none.

    Returns:
        No line where the user chose, and for 0 and 1, booleans, and texts that are no numbers, dates or numbers with a
        unit.
    """
    if asked not in (None, "auto"):
        return []
    if labels.dtype.kind == "U" and not all(re.search(r"\d", text) for text in labels[:_N_SAMPLED]):
        return []  # millions of texts are slow to sort
    values = np.unique(labels)
    if task == "regression":
        can_classify = len(values) <= MAX_CLASSES or _are_whole(labels).all()
        return [_REGRESSION.format(place, len(values), _CHOOSE if can_classify else _CUT)]
    texts = values.astype(str)
    if are_whole_texts(texts):
        is_binary = set(texts) <= {"0", "1"}
        return [] if is_binary else [_CLASSIFICATION.format(place, len(values))]
    form = _form(texts) if len(texts) > MAX_CLASSES else ""
    return [_FORMS.format(place, len(texts), form)] if form else []


def are_whole_texts(names: Sequence[str] | Array) -> bool:
    """Whether the names of classes are whole numbers."""
    return all(re.fullmatch(r"-?\d+", name) for name in names)


def _form(names: Sequence[str] | Array) -> str:
    """Returns what names of classes are that a regression could predict, and how; empty for other names."""
    import pandas as pd

    sample = pd.Series([str(name) for name in names[:_N_SAMPLED]], dtype=object)
    if all(_NUMBER_AND_UNIT.fullmatch(text.strip()) for text in sample):
        return _UNITS.format(sample[0])
    is_date = sample.str.contains(r"\d.*\d").all()
    if is_date and any(parse(sample, text_format).notna().all() for text_format in DATE_FORMATS):
        return _DATES.format(sample[0])
    return ""


def advice(names: Sequence[str], plain: str) -> str:
    """Returns what to do where classes have too few rows.

    Args:
        names: Those of the classes.
        plain: The advice for names that are no numbers and no dates.
    """
    if len(names) > 2 and all(_NUMBER.fullmatch(name) for name in names):
        return f"{plain}, or {_REGRESS}"
    form = _form(names)
    return f"the labels are {form}" if form else plain


def number_labels(labels: Array, classes: Sequence[str], place: str) -> Array:
    """Converts (n_rows,) cleaned labels to (n_rows,) int32 class numbers.

    Raises:
        DataError: Labels that do not occur in training.
    """
    unique, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    position = {name: number for number, name in enumerate(classes)}
    texts = [str(label) for label in unique]
    unknown = [f"{text!r} ({count})" for text, count in zip(texts, counts, strict=True) if text not in position]
    if unknown:
        remedy = advice([*classes, *texts], "drop those rows")
        raise DataError(f"{place}: every label must occur in training, got {listed(unknown)}: {remedy}")
    return np.array([position[text] for text in texts], dtype=np.int32)[inverse]


def require_regressable(values: Array, config: DataConfig, place: str) -> None:
    """Checks the (n_rows,) values of a regression's target.

    Raises:
        DataError: They are too few, all equal, or not positive where their logarithm is asked for.
    """
    if len(values) < _MIN_REGRESSION_ROWS:
        raise DataError(f"{place}: a regression must have at least {_MIN_REGRESSION_ROWS} rows, got {len(values)}")
    if values.min() == values.max():
        raise DataError(f"{place}: must hold different numbers, got {values[0]:g} in every row")
    if config.target_transform == "log" and values.min() <= 0:
        n_wrong = np.count_nonzero(values <= 0)
        rule = 'data.target_transform: the target must be above 0 for "log"'
        raise DataError(f"{place}: {rule}, got {values.min():g} ({n_wrong} such rows): leave it out")


@dataclass(frozen=True, slots=True)
class TargetScaling:
    """The map between a regression's target and what the network learns.

    Attributes:
        center: Mean of the (transformed) training targets.
        scale: Their standard deviation.
        transform: Applied before; ``log`` is the natural logarithm.
    """

    center: float
    scale: float
    transform: Transform = "none"

    @classmethod
    def learn(cls, values: Array, transform: Transform | None) -> TargetScaling:
        """Learns the scaling of (n_rows,) float64 training targets.

        Raises:
            DataError: They are all equal.
        """
        if values.min() == values.max():
            rule = "the target must differ between training rows"
            raise DataError(f"{rule}, got {values[0]:g} in all {len(values)}: use more rows, or another split")
        learned = cls(0.0, 1.0, transform or "none")
        transformed = learned._transformed(values)
        return cls(float(transformed.mean()), float(transformed.std()) or 1.0, learned.transform)

    def _transformed(self, values: Array) -> Array:
        return np.log(values) if self.transform == "log" else values

    def encode(self, values: Array) -> Array:
        """Converts (n_rows,) targets to what the network learns, (n_rows,) float32."""
        return ((self._transformed(values) - self.center) / self.scale).astype(np.float32)

    def decode(self, outputs: Array) -> Array:
        """Converts (n_rows,) outputs of the network to the target's own unit, (n_rows,) float64."""
        transformed = outputs.astype(np.float64) * self.scale + self.center
        return np.exp(transformed) if self.transform == "log" else transformed

    def to_json(self) -> dict[str, object]:
        """Returns plain values for a JSON document."""
        return asdict(self)


def listed(names: Sequence[str]) -> str:
    """Lists the first names and the number of the others."""
    more = f" and {len(names) - _N_LISTED} more" if len(names) > _N_LISTED else ""
    return ", ".join(names[:_N_LISTED]) + more
