"""Reads the target's column of a table: numbers that are written as texts, labels, and missing ones among them."""

from __future__ import annotations

from pipelines.config import DataConfig
from pipelines.data.targets.labels import are_classes
from pipelines.errors import DataError
from pipelines.files.columns import MOST, STRIPPED, read_texts
from pipelines.files.kinds import holds_text
from pipelines.files.tables import MISSING
from pipelines.files.text_forms import NUMBER_FORMATS, Series, are_marks, parse

_CLASSES = "column {!r}: the texts {} ({} rows) are labels, not missing; leave a field empty where a label is missing"
_BLANKS = "column {!r}: blanks around labels are removed"
_HINT = 'correct them or drop those rows; for classes use task = "classification" and one of its objectives'


def rows_of_a_class(config: DataConfig) -> int:
    """Returns the rows that a class must have: one for each split, where rows are drawn at random."""
    return 1 if config.time or config.split else 3


def read_target(
    values: Series, config: DataConfig, order: tuple[str, ...], formats: dict[str, str], notes: list[str]
) -> Series:
    """Reads the texts of a target.

    Args:
        values: (n_rows,) values as the file holds them.
        config: The task, if it is given.
        order: ``NUMBER_FORMATS``, the likelier one first.
        formats: Takes the format of the target where a fingerprint needs it.
        notes: Takes lines about how it was read.

    Returns:
        Numbers, or texts without blanks around them; missing ones are None or NaN. A text such as ``NA`` is a label
        beside other texts, and missing beside numbers.

    Raises:
        DataError: A regression's target holds something else than numbers.
    """
    if not holds_text(values):
        return values
    is_declared = values.name in (config.text_columns or ()) and config.task != "regression"
    holds_labels = is_declared or config.task == "classification"
    numbers = None if holds_labels else _read_numbers(values, config, order, formats, notes)
    return _read_labels(values, formats, notes) if numbers is None else numbers


def _read_numbers(
    values: Series, config: DataConfig, order: tuple[str, ...], formats: dict[str, str], notes: list[str]
) -> Series | None:
    """Returns the numbers that a regression predicts; None where the texts are labels."""
    name, is_regression = str(values.name), config.task == "regression"
    try:
        numbers, text_format, note = read_texts(values, name, order, numeric=is_regression, may_mix=False)
    except DataError as error:
        rule = str(error).partition(": correct these")[0]  # the rest is advice on features
        raise DataError(f"{config.source}, {rule}: {_HINT}") from error
    if text_format not in NUMBER_FORMATS:
        _refuse_slips(values, config)
        return None
    if not is_regression and are_classes(numbers.dropna().to_numpy(), rows_of_a_class(config)):
        return None
    notes.append(note)
    if order != NUMBER_FORMATS and read_texts(values, name, NUMBER_FORMATS, numeric=True)[1] != text_format:
        formats[name] = text_format  # earlier versions read other numbers: the fingerprint must differ
    return numbers


def _refuse_slips(values: Series, config: DataConfig) -> None:
    """Refuses texts of which nearly all are numbers of a regression: a few slips must not make it a classification."""
    import pandas as pd

    texts = values.dropna().astype(str).str.strip()
    texts = texts[~(texts.isin(MISSING) | are_marks(texts))]
    readings = [pd.to_numeric(texts, errors="coerce"), *(parse(texts, form) for form in NUMBER_FORMATS)]
    numbers = max(readings, key=lambda reading: reading.notna().sum())
    others, rows = texts[numbers.isna()], rows_of_a_class(config)
    few = 0 < len(others) <= (1 - MOST) * len(texts)
    if few and config.task in (None, "auto") and not are_classes(numbers.dropna().to_numpy(), rows):
        shown = ", ".join(map(repr, others.unique()[:3]))
        raise DataError(
            f"{config.source}, column {values.name!r}: must hold numbers, as {len(numbers) - len(others):,} of"
            f" {len(numbers):,} values do, got {shown} ({len(others):,} rows): {_HINT}"
        )


def _read_labels(values: Series, formats: dict[str, str], notes: list[str]) -> Series:
    import pandas as pd

    plain = values if isinstance(values.dtype, pd.StringDtype) else values.astype(object)
    texts = plain.str.strip()
    if not texts.equals(plain):
        formats[str(values.name)] = STRIPPED
        notes.append(_BLANKS.format(values.name))
    marks = texts.isin(MISSING)
    if marks.any():
        others = texts[~marks].dropna()
        if (pd.to_numeric(others, errors="coerce").notna() | others.str.casefold().isin(["true", "false"])).all():
            return texts.mask(marks)
    marks |= are_marks(texts.fillna("")) & texts.notna()  # such as a question mark
    if marks.any():
        notes.append(_CLASSES.format(values.name, ", ".join(map(repr, texts[marks].unique())), marks.sum()))
    return texts
