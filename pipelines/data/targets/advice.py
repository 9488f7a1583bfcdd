"""Lines on the task that a target decided, and advice where its classes do not fit."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from pipelines.data.targets.labels import MAX_CLASSES, are_whole
from pipelines.files.archives import Array
from pipelines.files.text_forms import DATE_FORMATS, MISSING, NUMBER_AND_UNIT, NUMBER_FORMATS, parse
from pipelines.objectives import Task

_REGRESSION = "{}: {:,} different numbers, so the task is a regression{}"
_CHOOSE = '; task = "classification" in [data] (--task) makes each number a class'
_CUT = "; to classify, cut the numbers into classes and name that column as the target"
_CLASSIFICATION = (
    '{}: {:,} different {}, so the task is a classification; task = "regression" in [data] (--task) predicts the number'
)
_FORMS = "{}: {:,} different texts, so the task is a classification, though they are {}"
_REGRESS = 'use task = "regression" in [data] (--task) to predict the number'
_DATES = 'dates, such as {!r}: to predict one, write it as a number of days and use task = "regression" (--task)'
_NUMBERS = "numbers: to predict the number, save them as numbers"
_UNITS = "numbers with a unit, such as {!r}: to predict the number, write it without the unit"
_N_LISTED = 5
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_N_SAMPLED = 100


def task_note(
    task: Task, labels: Array, place: str, asked: str | None = None, *, reads_texts: bool = True
) -> list[str]:
    """Returns the line that says which task the values of a target decided, and how to choose otherwise.

    Args:
        task: The task.
        labels: (n_rows,) cleaned labels.
        place: Name of the labels.
        asked: The task that the user asked for; None and ``auto`` for none.
        reads_texts: Whether a regression reads numbers that are written as texts, as that of a table does.

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
        can_classify = len(values) <= MAX_CLASSES or are_whole(labels).all()
        return [_REGRESSION.format(place, len(values), _CHOOSE if can_classify else _CUT)]
    texts = values.astype(str)
    numbers = _as_numbers(texts)
    if numbers is not None and {*numbers} <= {0, 1}:
        return []
    if numbers is not None and labels.dtype.kind == "U" and not reads_texts:
        return [_FORMS.format(place, len(texts), _NUMBERS)]
    if numbers is not None:
        kind = "whole numbers" if are_whole(numbers).all() else "numbers"
        return [_CLASSIFICATION.format(place, len(texts), kind)]
    form = _form(texts) if len(texts) > MAX_CLASSES else ""
    return [_FORMS.format(place, len(texts), form)] if form else []


def missing_note(labels: Array, place: str) -> list[str]:
    """Returns a line about the labels of an archive that look as if they were missing, such as ``nan``."""
    if labels.dtype.kind != "U":
        return []
    texts = [text for text in np.unique(labels).tolist() if text.casefold() in MISSING]
    named = ", ".join(map(repr, texts))
    return [f"{place}: the texts {named} are labels, not missing; drop the rows without a label"] if texts else []


def are_whole_texts(names: Sequence[str] | Array) -> bool:
    """Whether the names of classes are whole numbers."""
    return all(re.fullmatch(r"-?\d+", name) for name in names)


def _as_numbers(names: Array) -> Array | None:
    """Returns the numbers that the names of classes are in one form, such as ``$ 100``; None if some are none."""
    if are_whole_texts(names):
        return names.astype(np.float64)
    import pandas as pd

    for number_format in NUMBER_FORMATS:
        if parse(pd.Series(names[:_N_SAMPLED], dtype=object), number_format).notna().all():
            numbers = parse(pd.Series(names, dtype=object), number_format).to_numpy()
            if np.isfinite(numbers).all():
                return numbers
    return None


def _form(names: Sequence[str] | Array) -> str:
    """Returns what names of classes are that a regression could predict, and how; empty for other names."""
    import pandas as pd

    sample = pd.Series([str(name) for name in names[:_N_SAMPLED]], dtype=object)
    if all(NUMBER_AND_UNIT.fullmatch(text.strip()) for text in sample):
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


def listed(names: Sequence[str]) -> str:
    """Lists the first names and the number of the others."""
    more = f" and {len(names) - _N_LISTED} more" if len(names) > _N_LISTED else ""
    return ", ".join(names[:_N_LISTED]) + more
