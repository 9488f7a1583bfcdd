"""Numbers the classes of a source, and splits its rows as the configuration asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from pipelines.config import DEFAULT_FRACTION, DataConfig
from pipelines.data import splits
from pipelines.data.readers import Source
from pipelines.data.targets import number_labels, require_regressable
from pipelines.encoding.learning import is_unnamed, learn_column
from pipelines.errors import DataError
from pipelines.files.archives import Array
from pipelines.files.columns import IGNORED
from pipelines.files.kinds import holds_text
from pipelines.files.roles import LEFT_OUT, TRAINING
from pipelines.files.sources import scaling_of
from pipelines.files.tables import Table

_OWN_VALIDATION = "data.folds: must be left out where a file has validation rows of its own, got {}: choose one of both"


@contextmanager
def located(source: Source) -> Iterator[None]:
    """Names the file, and the column of a key of ``[data]``, in errors that are found when rows are split."""
    try:
        yield
    except DataError as error:
        raise DataError([_locate(problem, source) for problem in error.problems]) from error


def _locate(problem: str, source: Source) -> str:
    if problem.startswith(source.place):
        return problem
    for key, place in source.roles.places.items():
        if problem.startswith(f"data.{key}:"):
            problem = place + problem.removeprefix(f"data.{key}")
    return f"{source.place}: {problem}"


def place_of_labels(source: Source, config: DataConfig) -> str:
    """Returns how errors name the targets of a source."""
    if isinstance(source.rows, np.ndarray):
        return f"{source.place}, labels"
    return f"{source.place}, column {config.target or 'target'!r}"


def number_rows(source: Source, config: DataConfig) -> tuple[tuple[str, ...], Array]:
    """Returns the classes and each row's number; of a regression no classes and the bins of its target."""
    if source.task == "regression":
        require_regressable(source.labels, config, place_of_labels(source, config))
        # A draw of single rows needs two in each bin; a draw of groups does not, and stays as it was.
        is_grouped = source.roles.group is not None or config.duplicates == "group"
        return (), _bins(source, config.test_fraction, merge=not is_grouped)
    classes = tuple(str(label) for label in np.unique(source.labels))
    return classes, number_labels(source.labels, classes, source.place)


def _bins(source: Source, test_fraction: float, *, merge: bool) -> Array:
    """Returns (n_rows,) bins of the target, of the rows that are drawn from where the file says what each row is."""
    drawn = None if source.roles.split is None else source.roles.split == TRAINING
    if drawn is None:
        numbers = splits.quantile_bins(source.labels, merge=merge)
        n_drawn = len(numbers) - (source.n_own_validation or 0)
        counts = np.bincount(numbers[:n_drawn])
        # Studies of earlier versions have bins of all rows, where these could be drawn from.
        if n_drawn == len(numbers) or not merge or splits.can_be_drawn(counts[counts > 0], test_fraction):
            return numbers
        drawn = np.arange(len(numbers)) < n_drawn
    numbers = np.zeros(len(source.labels), np.int32)
    numbers[drawn] = splits.quantile_bins(source.labels[drawn], merge=merge)
    return numbers


def _groups_of_copies(source: Source, config: DataConfig) -> Array:
    """Returns (n_rows,) numbers, of equal rows that of the first of them: the same ones on every machine."""
    return _equal_rows(source.features(_identifiers(source, config)))


def _equal_rows(rows: Array | Table) -> Array:
    _, first, inverse = np.unique(splits.hash_rows(rows), return_index=True, return_inverse=True)
    return np.asarray(first[inverse])


def are_grouped_anew(source: Source, config: DataConfig) -> bool:
    """Whether equal rows are other ones than in earlier versions, where ignored columns told rows apart."""
    is_told = source.roles.time is not None or source.roles.split is not None
    if config.duplicates != "group" or is_told or isinstance(source.rows, np.ndarray):
        return False
    reasons = [f"{IGNORED}: {LEFT_OUT[key]}" for key in ("weight", "split")]
    left_out = [name for name in source.rows.columns if source.formats.get(name) in reasons]
    before = _equal_rows(source.rows.drop(columns=left_out) if left_out else source.rows)
    return not np.array_equal(before, _groups_of_copies(source, config))


def _identifiers(source: Source, config: DataConfig) -> list[str]:
    """Returns further columns that the encoder ignores: texts that identify rows, and a saved index.

    All rows decide, as the training rows are not known before the split.
    """
    rows = source.features()
    if isinstance(rows, np.ndarray):
        return []

    def is_ignored(name: str) -> bool:
        if is_unnamed(name):
            return True
        values = rows[name]
        text_format, scaling = source.formats.get(name, ""), scaling_of(config)
        return holds_text(values) and learn_column(name, values, text_format, scaling).kind == "ignored"

    return [name for name in rows.columns if is_ignored(name)]


def split_rows(
    source: Source, numbers: Array, classes: Sequence[str] | None, config: DataConfig, *, decide_folds: bool
) -> tuple[splits.Shares, list[str]]:
    """Returns the rows of each split, and lines on folds that a rule chose."""
    roles, groups, place = source.roles, source.roles.group, place_of_labels(source, config)
    if roles.time is not None:
        return splits.share_by_time(numbers, classes, config, place, roles.time), []
    if roles.split is not None:
        return splits.share_as_told(numbers, classes, config, place, roles), []
    if config.duplicates == "group":
        groups = _groups_of_copies(source, config)
    shares = splits.share_rows(
        numbers,
        classes,
        config,
        place,
        with_test=source.n_own_test is None,
        n_own_validation=source.n_own_validation,
        groups=groups,
    )
    rows = splits.FoldRows(numbers, classes, groups, roles.weight, config.split_seed)
    has_own, n_folds = source.n_own_validation is not None, config.folds or 1
    if n_folds > 1:
        if has_own:
            raise DataError(f"{source.place}, {_OWN_VALIDATION.format(n_folds)}")
        return splits.in_folds(shares, rows, n_folds), []
    if config.folds == 1 or not decide_folds or has_own or config.validation_fraction != DEFAULT_FRACTION:
        return shares, []
    return splits.choose_folds(shares, rows, len(numbers) + (source.n_own_test or 0))
