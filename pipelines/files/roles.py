"""Columns that say how rows are weighted and split: weights, groups, times, and the split of each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from pipelines.config import DataConfig
from pipelines.errors import DataError, collect
from pipelines.files.archives import Array
from pipelines.files.columns import found, read_texts, to_days, to_numbers
from pipelines.files.kinds import DATES, DURATIONS, NUMBERS, kind_of
from pipelines.files.text_forms import DATE_FORMATS, NUMBER_FORMATS, Series, parse, require_short, within_float

ROLES = ("weight", "group", "time", "split")
"""The keys of ``[data]`` that name such a column."""
TRAINING, VALIDATION, TEST = range(3)
_WORDS = {
    "train": TRAINING,
    "training": TRAINING,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "dev": VALIDATION,
    "test": TEST,
}
LEFT_OUT = {"group": "in data.group", "weight": "in data.weight", "split": "in data.split"}
"""Columns of a table that are no features, and what says so."""
_LISTS = ("text_columns", "numeric", "ignore")
_ALLOWED = {("group", "text_columns"), ("time", "numeric"), *((key, "ignore") for key in ROLES)}
_EXCLUDING = (("time", "group"), ("time", "split"))
_N_SAMPLED = 200
_EQUAL = "{}: all weights are equal, so they change nothing"
_SINGLE = "{}: each row has a value of its own, so no rows are kept together"
_ORDER = "{}: training rows are before validation rows, and these before test rows"
_DRAWN = "{}: no row is a {} row, so data.{}_fraction of the training rows are, drawn at random"


@dataclass(frozen=True, slots=True, eq=False)
class Roles:
    """The roles of a file's columns besides features and labels; None where there is none.

    Attributes:
        weight: (n_rows,) float64 numbers >= 0.
        group: (n_rows,) texts; rows with equal ones stay in one split.
        time: (n_rows,) float64; later rows have larger ones.
        split: (n_rows,) ``TRAINING``, ``VALIDATION`` or ``TEST``.
        digests: Their part of a fingerprint.
        places: The name of each column or array in an error, by its key in ``[data]``.
        used: Names of the arrays of an archive that they are from.
        notes: Lines that a user should know.
    """

    weight: Array | None = None
    group: Array | None = None
    time: Array | None = None
    split: Array | None = None
    digests: tuple[tuple[str, str], ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)
    used: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_roles(columns: Mapping[str, Series], what: str, formats: tuple[str, ...] = NUMBER_FORMATS) -> Roles:
    """Reads and checks the columns that ``[data]`` names.

    Args:
        columns: (n_rows,) values by key; the name of each is the column's.
        what: ``column`` or ``array``, for messages.
        formats: ``NUMBER_FORMATS``, the likelier one first.

    Raises:
        DataError: Values are missing, or are no weights, groups, times or splits.
    """
    notes: list[str] = []
    places = {key: f"{what} {values.name!r}, data.{key}" for key, values in columns.items()}

    def read(key: str) -> Array:
        return _READERS[key](_Column(columns[key], places[key], formats, notes))

    values = dict(zip(columns, collect(read, columns), strict=True))
    return Roles(**values, places=places, notes=tuple(notes))  # type: ignore[arg-type]


def conflicts(config: DataConfig) -> Iterator[str]:
    """Yields a line for each two keys of ``[data]`` that contradict each other."""
    rule = "data.{}: must be left out with data.{}, got {!r}: choose one of the two"
    given = {key: name for key in ROLES if (name := getattr(config, key)) is not None}
    for one, other in _EXCLUDING:
        if one in given and other in given:
            yield rule.format(one, other, given[one])
    if config.duplicates == "group":
        yield from (rule.format("duplicates", key, "group") for key in given if key != "weight")
    for one, other in combinations(given, 2):
        if given[one] == given[other] and (other, one) not in _EXCLUDING:
            yield f"data.{other}: must name another column than data.{one}, got {given[other]!r} twice: correct one"
    lists = {key: getattr(config, key) or () for key in _LISTS}
    for key, name in given.items():
        for other, names in lists.items():
            if name in names and (key, other) not in _ALLOWED:
                yield f"data.{other}: must not name the column of data.{key}, got {name!r}: take it out"
    for one, other in combinations(_LISTS, 2):
        for name in sorted(set(lists[one]) & set(lists[other])):
            yield f"data.{other}: must not name a column of data.{one}, got {name!r}: keep it in one of them"


def normalize(weight: Array) -> tuple[Array | None, float]:
    """Returns (n_rows,) float32 weights with mean 1, None where all are equal, and their mean before."""
    largest = float(weight.max()) if len(weight) else 1.0
    if len(weight) == 0 or np.ptp(weight) == 0:
        return None, largest
    shares = weight / largest  # so that no sum is infinite
    mean = float(shares.mean())
    return np.asarray(shares / mean, dtype=np.float32), mean * largest


@dataclass(frozen=True, slots=True)
class _Column:
    """Reads the (n_rows,) values of one column, or of an array of an archive."""

    values: Series
    place: str
    formats: tuple[str, ...]
    notes: list[str]

    def weight(self) -> Array:
        """Returns float64 weights."""
        self._require_filled("a weight")
        numbers = self._as_numbers()
        wrong = ~(np.isfinite(numbers) & (numbers >= 0))
        if wrong.any():
            wrong_ones = found(self.values, wrong)
            raise DataError(f"{self.place}: weights must be finite numbers >= 0, got {wrong_ones}: correct them")
        if not numbers.any():
            raise DataError(f"{self.place}: some weights must be above 0, got 0 in every row: leave the weights out")
        if np.ptp(numbers) == 0:
            self.notes.append(_EQUAL.format(self.place))
        return numbers

    def group(self) -> Array:
        """Returns texts without blanks around them."""
        self._require_filled("a group")
        texts = self.values.astype(str)
        require_short(texts.drop_duplicates(), self.place, "groups", "name the column that tells them apart")
        groups = np.char.strip(texts.to_numpy(dtype=str))
        if len(np.unique(groups)) == len(groups):
            self.notes.append(_SINGLE.format(self.place))
        return groups

    def time(self) -> Array:
        """Returns float64 numbers; of dates, days since 1970."""
        values, name, text_format = self.values, str(self.values.name), "numbers"
        if kind_of(values) == "string":
            try:
                values, text_format, _ = read_texts(values, name, self.formats)
            except DataError:  # which advises what a column of times may not be
                text_format = ""
        kind = kind_of(values)
        if not text_format or kind not in (*NUMBERS, *DURATIONS, *DATES):
            wrong = found(self.values, self._no_time(values))
            raise DataError(f"{self.place}: must hold dates or numbers, got {wrong}: correct them, or name another one")
        _Column(values, self.place, self.formats, self.notes)._require_filled("a time")
        self.notes.append(_ORDER.format(self.place))
        return to_days(values, name, "") if kind in DATES else to_numbers(values, name)

    def split(self) -> Array:
        """Returns ``TRAINING``, ``VALIDATION`` or ``TEST``."""
        self._require_filled("a split")
        numbers = self.values.astype(str).str.strip().str.casefold().map(_WORDS)
        if numbers.isna().any():
            wrong = found(self.values, numbers.isna().to_numpy())
            raise DataError(f"{self.place}: must hold train, validation or test, got {wrong}: correct them")
        splits = numbers.to_numpy(dtype=np.int64)
        if not np.any(splits == TRAINING):
            raise DataError(f"{self.place}: must hold train in some rows, got none: mark the training rows")
        for name, number in (("validation", VALIDATION), ("test", TEST)):
            if not np.any(splits == number):
                self.notes.append(_DRAWN.format(self.place, name, name))
        return splits

    def _no_time(self, values: Series) -> Array:
        """Whether each value is none of the dates or numbers that most are; all of them if none or each is read."""
        wrong = np.zeros(len(values), dtype=bool)
        distinct = values.dropna().astype(object).drop_duplicates()
        if distinct.map(lambda value: isinstance(value, str)).all():
            sample, formats = distinct.head(_N_SAMPLED), (*self.formats, *DATE_FORMATS)
            best = max(formats, key=lambda text_format: parse(sample, text_format).notna().sum())
            wrong = values.isin(distinct[parse(distinct, best).isna()]).to_numpy()
        return wrong if wrong.any() else ~wrong

    def _as_numbers(self) -> Array:
        """Returns float64 numbers, NaN where a value is none."""
        import pandas as pd

        kind = kind_of(self.values)
        if kind == "string":
            reads = [parse(self.values.astype(object), text_format) for text_format in self.formats]
            return max(reads, key=lambda read: read.notna().sum()).to_numpy()
        if kind in ("boolean", *NUMBERS):
            values = self.values.map(within_float) if self.values.dtype == object else self.values
            return np.asarray(pd.to_numeric(values), dtype=np.float64)
        return np.full(len(self.values), np.nan)

    def _require_filled(self, what: str) -> None:
        missing = self.values.isna().to_numpy()
        if missing.any():
            wrong = found(self.values, missing)
            raise DataError(f"{self.place}: every row must have {what}, got {wrong}: fill or drop them")


_READERS: dict[str, Callable[[_Column], Array]] = {
    "weight": _Column.weight,
    "group": _Column.group,
    "time": _Column.time,
    "split": _Column.split,
}
