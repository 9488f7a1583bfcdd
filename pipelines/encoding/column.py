"""Encodes one column of a table as ``float32`` features: medians for gaps, 0/1 features for categories."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from pipelines.encoding.categories import shared_feature
from pipelines.encoding.curves import Curve, pieces
from pipelines.errors import DataError
from pipelines.files.archives import Array
from pipelines.files.columns import TEXT, to_days, to_numbers
from pipelines.files.kinds import holds_text
from pipelines.files.tables import MISSING
from pipelines.files.text_forms import BOOLEAN, NUMBER_FORMATS, Series, parse

Kind = Literal["numeric", "boolean", "date", "category", "ignored"]

_N_DATE_PARTS = 5
_TUPLES = ("categories", "others", "edges")


@dataclass(frozen=True, slots=True)
class Column:
    """The encoding of one column as features.

    Attributes:
        name: The column's name.
        kind: ``numeric`` and ``boolean`` give their number; ``date`` year, month, day, weekday (Monday is 0), hour and
            days since the earliest one; ``category`` a 0/1 feature per category, then the shared ones (zeros for a
            missing one); ``ignored`` nothing.
        median: Median of the training rows, of dates in days since 1970; replaces missing values.
        indicator: Whether a 0/1 feature marks missing values; true if a training row lacks one.
        categories: Texts of the training rows that have a feature of their own, sorted.
        reason: Why the column is ignored.
        format: How its texts are read, as ``files.columns`` reads them; empty where the file holds values.
        offset: Subtracted in float64 before the values become float32, where float32 would lose their differences;
            the earliest of dates.
        n_shared: 0/1 features that all other texts share, those that no training row has too; 0 means they have zeros.
        others: Texts of the training rows without a feature of their own, sorted.
        curve: Maps the numbers, instead of subtracting the offset; None keeps them.
        edges: Edges of ranges, rising. Each range is a feature after the number: 0 below it, 1 above it, straight
            between.
    """

    name: str
    kind: Kind
    median: float = 0.0
    indicator: bool = False
    categories: tuple[str, ...] = ()
    reason: str = ""
    format: str = ""
    offset: float = 0.0
    n_shared: int = 0
    others: tuple[str, ...] = ()
    curve: Curve | None = None
    edges: tuple[float, ...] = ()

    @property
    def are_numbers(self) -> tuple[bool, ...]:
        """Of each feature, whether it has a unit and wants scaling; the others go from 0 to 1."""
        if self.kind == "category":
            return (False,) * (len(self.categories) + self.n_shared)
        if self.kind == "ignored":
            return ()
        n_numbers = {"date": _N_DATE_PARTS + 1, "numeric": 1}.get(self.kind, 0)
        n_others = (self.kind == "boolean") + max(0, len(self.edges) - 1) + self.indicator
        return (True,) * n_numbers + (False,) * n_others

    @property
    def n_features(self) -> int:
        """Number of features of this column."""
        return len(self.are_numbers)

    @property
    def summary(self) -> str:
        """The encoding of the column beyond its plain values, or the reason why it is ignored; empty for neither."""
        shared = f"{len(self.others)} rare or further texts share {self.n_shared}" if self.n_shared else ""
        curve = f"mapped by {self.curve.kind}" if self.curve else ""
        ranges = f"{len(self.edges) - 1} ranges" if self.edges else ""
        return self.reason or ", ".join(filter(None, (shared, curve, ranges)))

    def encode(self, values: Series) -> Array:
        """Encodes (n_rows,) values as the file holds them; returns (n_rows, n_features) float32."""
        if self.kind == "category":
            return np.asarray(self._codes(values)[:, None] == np.arange(self.n_features), dtype=np.float32)
        if self.kind == "numeric" and not self.format:
            _require_no_percent(values, self.name)
        convert = to_days if self.kind == "date" else to_numbers
        # One text among truth values makes all of a file's column texts.
        numbers = convert(values, self.name, BOOLEAN if self.kind == "boolean" else self.format)
        missing = np.isnan(numbers)
        filled = np.where(missing, self.median, numbers)
        features = [*_date_parts(filled)] if self.kind == "date" else []
        features.append(self.curve(filled) if self.curve else filled - self.offset)
        features += [*pieces(filled, self.edges), missing]
        return np.stack(features[: self.n_features], axis=1).astype(np.float32)

    def unknown(self, values: Series) -> list[str | None]:
        """Returns the texts that no training row has, and None for the other rows."""
        import pandas as pd

        codes, uniques = pd.factorize(values)  # code -1 is a missing value
        known = {*self.categories, *self.others, *self._missing}
        texts = self._spelled(uniques)
        found = [None if text in known or text.strip() in known else text for text in texts]
        return [None if code < 0 else found[code] for code in codes]

    @property
    def has_marks(self) -> bool:
        """Whether training rows had a text that stands for a missing value in a ``.csv``."""
        return not {*self.categories, *self.others}.isdisjoint(MISSING)

    @property
    def _missing(self) -> frozenset[str]:
        """Texts that a frame may hold where a ``.csv`` has a missing value; none where the user declared texts."""
        return frozenset() if self.format == TEXT else frozenset(MISSING) - {*self.categories, *self.others}

    def _codes(self, values: Series) -> Array:
        """Returns each row's feature, -1 for missing texts, and for unknown ones where none is shared."""
        import pandas as pd

        codes, uniques = pd.factorize(values)  # code -1 is a missing value
        position = {category: index for index, category in enumerate(self.categories)}
        texts = self._spelled(uniques)
        features = [position.get(text, -1) for text in texts]
        if self.n_shared:
            first = len(self.categories)
            bare, missing = [text.strip() for text in texts], self._missing
            shared = [-1 if text in missing else first + shared_feature(text, self.n_shared) for text in bare]
            features = np.where(np.array(features) < 0, shared, features).tolist()
        return np.array([*features, -1])[codes]

    def _spelled(self, values: Iterable[object]) -> list[str]:
        """Returns the texts of categories, whole numbers as the training rows write them: ``1`` or ``1.0``."""
        known = {*self.categories, *self.others}

        def spelled(text: str) -> str:
            forms = (text, text.strip(), *whole_forms(text.strip()))
            return next((form for form in forms if form in known), text)

        return [spelled(text_of(value)) for value in values]

    def to_json(self) -> dict[str, object]:
        """Returns plain values for a JSON document."""
        return asdict(self) | {name: list(getattr(self, name)) for name in _TUPLES}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Column:
        """Reads what ``to_json`` returned, in this version or an earlier one."""
        tuples = {name: tuple(record.get(name, ())) for name in _TUPLES}
        return cls(**{**record, **tuples, "curve": Curve.from_json(record.get("curve"))})


def _require_no_percent(values: Series, name: str) -> None:
    """Refuses percentages where the training file held plain numbers: whether 50% is 50 or 0.5 there, nobody knows."""
    if not holds_text(values):
        return
    texts = values[values.map(lambda value: isinstance(value, str))].drop_duplicates()
    found = texts[texts.str.contains("%", regex=False).astype(bool) & parse(texts, NUMBER_FORMATS[0]).notna()]
    if len(found):
        rule = "must hold numbers without a percent sign, as in training"
        raise DataError(f"column {name!r}: {rule}, got {found.iloc[0]!r}: convert them")


def _date_parts(days: Array) -> tuple[Array, ...]:
    """Returns year, month, day, weekday and hour of (n_rows,) days since 1970."""
    whole = np.floor(days)
    date = whole.astype("M8[D]")
    months = date.astype("M8[M]")
    year, month = np.divmod(months.astype(np.int64), 12)
    return year + 1970, month + 1, (date - months).astype(np.int64) + 1, (whole + 3) % 7, (days - whole) * 24


def text_of(value: object) -> str:
    """Returns a category's text; a whole number has the same text as an integer and as a float."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def whole_forms(text: str) -> tuple[str, ...]:
    """Returns the other way to write a whole number: a ``.csv`` of a column with gaps has ``1.0`` for the integer 1."""
    if found := re.fullmatch(r"(-?[0-9]+)(\.0+)?", text):
        return (found[1],) if found[2] else (f"{text}.0",)
    return ()
