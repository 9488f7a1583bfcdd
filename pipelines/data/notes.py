"""Remarks on a dataset that a user should know before a search: copies of rows, row numbers, groups, labels."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

from pipelines.config import DataConfig
from pipelines.data.readers import Source
from pipelines.data.splits import Shares, hash_rows
from pipelines.encoding.encoder import TableEncoder
from pipelines.files.archives import Array
from pipelines.files.roles import TEST, VALIDATION
from pipelines.files.tables import LargeTable, Table
from pipelines.files.text_forms import Series

_FEWEST_ROWS = 20
_FEWEST_GROUPS = 20
_COPIES = "{} of {} {} rows equal a training row"
_FOLD_COPIES = "{} of {} rows equal a row of another fold"
_TOGETHER = '; data.duplicates = "group" keeps equal rows in one {}'
_UNUSED = "data.{}: not used, got {}, but {}"
_DEFAULTS = DataConfig("")
_ONE_CLASS = "the held-out test rows have one class alone, {!r}: AUC and average precision cannot be measured on them"
_DATES = "column {!r}: dates become the numbers year, month, day, weekday, hour (UTC) and days since the earliest date"
_TIME = "column {!r}: it stays a feature, although the other rows are later; data.ignore leaves it out"
_IDS = "{} {!r}: whole numbers that differ in every row, as row numbers do; they may follow the label by accident{}"
_GROUPS = (
    "column {!r}: all rows with one of its {} values have the same label, and are in several splits; data.group"
    " = {!r} keeps them in one split and leaves the column out"
)


def remarks(
    source: Source,
    numbers: Array,
    classes: Sequence[str],
    shares: Shares,
    encoder: TableEncoder | None,
    config: DataConfig,
) -> Iterator[str]:
    """Yields one line for each finding; the parameters are as in ``loading.Prepared``."""
    yield from source.notes
    yield from _unused(source, config)
    yield from _cases(classes)
    yield from _one_class(classes, numbers[shares.test])
    columns = encoder.columns if encoder else ()
    ignored = [column.name for column in columns if column.kind == "ignored" and column.name != config.group]
    yield from _copies(source, shares, ignored, config)
    if encoder is None or isinstance(source.rows, np.ndarray):
        yield from _array_ids(np.asarray(source.rows))
        return
    if config.time and config.time not in (config.ignore or ()):
        yield _TIME.format(config.time)
    for column in encoder.columns:
        if column.kind == "ignored":
            yield f"column {column.name!r}: ignored, {column.reason}"
        elif column.kind == "date":
            yield _DATES.format(column.name)
        elif column.kind == "numeric" and _is_id_column(source.rows, column.name):
            yield _IDS.format("column", column.name, "; data.ignore leaves it out")
    is_drawn = source.roles.group is None and source.roles.split is None and source.roles.time is None
    if is_drawn and classes:
        yield from _groups(source.rows, numbers, len(classes))


def _unused(source: Source, config: DataConfig) -> Iterator[str]:
    """Yields a line for each setting of a random draw where the file or ``[data]`` says what each row is."""
    told = source.roles.split
    causes = {}
    for name, number, n_own in (("validation", VALIDATION, source.n_own_validation), ("test", TEST, source.n_own_test)):
        if told is not None and np.any(told == number):
            causes[f"{name}_fraction"] = f"{source.roles.places['split']} says which rows are {name} rows"
        elif n_own is not None:
            causes[f"{name}_fraction"] = f"the file has {name} rows of its own"
    if source.roles.time is not None:
        causes["split_seed"] = f"{source.roles.places['time']} splits the rows"
    elif len(causes) == 2:
        causes |= dict.fromkeys(("split_seed", "duplicates"), "no row is drawn at random")
    for key, cause in causes.items():
        if (value := getattr(config, key)) != getattr(_DEFAULTS, key):
            yield _UNUSED.format(key, value, cause)


def _cases(classes: Sequence[str]) -> Iterator[str]:
    folded: dict[str, list[str]] = {}
    for name in classes:
        folded.setdefault(unicodedata.normalize("NFKC", name).casefold(), []).append(name)
    for names in folded.values():
        if len(names) > 1:
            how = "case" if len({name.casefold() for name in names}) == 1 else "their Unicode form"
            yield f"labels {', '.join(map(repr, names))} differ by {how} alone and are {len(names)} classes"


def _one_class(classes: Sequence[str], test: Array) -> Iterator[str]:
    if classes and len(found := np.unique(test)) == 1:
        yield _ONE_CLASS.format(classes[found[0]])


def _copies(source: Source, shares: Shares, ignored: Sequence[str], config: DataConfig) -> Iterator[str]:
    """Yields a line for each split with copies, with advice where that split is drawn from single rows."""
    roles, hashes = source.roles, hash_rows(source.features(ignored))
    can_group = config.duplicates is None and roles.group is None and roles.time is None and roles.split is None
    known = hashes[shares.learned_from]
    if shares.fold_of is not None:
        n_copies = _count_in_other_folds(known, shares.fold_of)
        if n_copies:
            yield _FOLD_COPIES.format(n_copies, len(known)) + (_TOGETHER.format("fold") if can_group else "")
    known = np.sort(known)
    test = hashes[shares.test] if source.test_rows is None else source.test_rows
    validation = hashes[shares.validation]
    for name, rows, n_own in (
        ("validation", validation, source.n_own_validation),
        ("test", test, source.n_own_test),
    ):
        n_copies = int(np.count_nonzero(_are_in(rows, known)))
        if n_copies and (name == "test" or shares.fold_of is None):
            advice = _TOGETHER.format("split") if can_group and n_own is None else ""
            yield _COPIES.format(n_copies, len(rows), name) + advice


def _count_in_other_folds(hashes: Array, fold_of: Array) -> int:
    """Returns how many rows equal a row of another fold."""
    folds = [fold_of == number for number in range(int(fold_of.max()) + 1)]
    return sum(int(_are_in(hashes[fold], np.sort(hashes[~fold])).sum()) for fold in folds)


def _are_in(values: Array, ordered: Array) -> Array:
    """Whether (n_values,) values are among sorted ones; ``np.isin`` takes several times the memory."""
    places = np.searchsorted(ordered, values)
    return np.asarray(ordered[np.minimum(places, len(ordered) - 1)] == values)


def _array_ids(x: Array) -> Iterator[str]:
    if x.ndim == 2 and x.dtype != np.uint8:
        yield from (_IDS.format("feature", number, "") for number in range(x.shape[1]) if _is_id(x[:, number]))


def _is_id_column(table: Table, name: str) -> bool:
    def numbers(values: Series) -> Array:
        return values.to_numpy(dtype=np.float64, na_value=np.nan)

    if isinstance(table, LargeTable):  # some rows tell so of most columns
        first = numbers(next(table.parts([name]))[name])
        if len(first) >= _FEWEST_ROWS and not _is_id(first):
            return False
    return _is_id(numbers(table[name]))


def _is_id(values: Array) -> bool:
    """Whether (n_rows,) numbers are whole and differ; the first ones tell so of most columns."""
    values = values[~np.isnan(values)]
    if len(values) < _FEWEST_ROWS or any(value % 1 for value in values[:_FEWEST_ROWS]):
        return False
    return bool(np.all(values % 1 == 0)) and len(np.unique(values)) == len(values)


def _groups(rows: Table, numbers: Array, n_classes: int) -> Iterator[str]:
    """Finds columns whose values come with one label each, as patients do whose rows are alike in other columns too."""
    nested = rows.attrs.get("nested", ())  # lists cannot be compared
    for name in (name for name in rows.columns if name not in nested):
        values = rows[name]
        if values.dtype.kind == "f" or values.isna().any():
            continue
        del values  # a large column is read again, some rows at a time
        if isinstance(rows, LargeTable):
            n_groups = _count_large_groups(rows, name, numbers)
        else:
            n_groups = _count_groups(rows[name], numbers, n_classes)
        if n_groups:
            yield _GROUPS.format(name, n_groups, name)


def _count_groups(values: Series, numbers: Array, n_classes: int) -> int:
    """Returns the number of a column's values if each comes with one label, and with two rows in the mean; else 0."""
    import pandas as pd

    codes, uniques = pd.factorize(values)
    if not _FEWEST_GROUPS <= len(uniques) <= len(codes) / 2:
        return 0
    n_pairs = len(np.unique(codes.astype(np.int64) * n_classes + numbers))
    return n_pairs if n_pairs == len(uniques) else 0


def _count_large_groups(table: LargeTable, name: str, numbers: Array) -> int:
    """Does the same by hashes: the values of a column and a table of them may take a hundred bytes each."""
    hashes = hash_rows(table.drop([other for other in table.columns if other != name]))
    order = np.argsort(hashes, kind="stable")
    hashes, numbers = hashes[order], numbers[order]
    is_new = hashes[1:] != hashes[:-1]
    n_groups = 1 + int(np.count_nonzero(is_new))
    if not _FEWEST_GROUPS <= n_groups <= len(hashes) / 2:
        return 0
    return n_groups if np.all(is_new | (numbers[1:] == numbers[:-1])) else 0
