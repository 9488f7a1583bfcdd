"""Loads a named source or a file as a Dataset: training and validation rows, class names, fingerprint.

Test rows are held out. Where a source has test rows of its own, they pass through the fingerprint's hash and
are not kept; where it has none, a stratified share is drawn and left out. ``sealed.open_test`` returns them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np

from pipelines.config import DEFAULT_FRACTION, MAX_FOLDS, DataConfig, Scaling
from pipelines.data.datasets import Dataset, Split
from pipelines.data.notes import remarks
from pipelines.data.preprocessing import Preprocessing, learn_scaling
from pipelines.data.readers import Source, read_source
from pipelines.data.splits import (
    FoldRows,
    Shares,
    choose_folds,
    hash_rows,
    in_folds,
    quantile_bins,
    require_weights,
    share_as_told,
    share_by_time,
    share_rows,
)
from pipelines.data.targets import TargetScaling, number_labels, require_regressable
from pipelines.encoding.encoder import TableEncoder
from pipelines.errors import DataError, placed
from pipelines.files.archives import Array
from pipelines.files.columns import IGNORED
from pipelines.files.roles import TRAINING, Roles, conflicts, normalize
from pipelines.files.sources import SOURCES, locate, scaling_of
from pipelines.files.tables import announce

_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_QUANTILE = 'data.scaling: "quantile" is for tables, got it for {}: choose "robust", which arrays have too'
_OWN_VALIDATION = "data.folds: must be left out where a file has validation rows of its own, got {}: choose one of both"
_NAMES = {"fashion_mnist": {str(number): name for number, name in enumerate(_FASHION)}}


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What the rows of one split are to be predicted as; ``y``, ``weight`` and ``group`` are those of a ``Split``."""

    y: Array
    weight: Array | None
    group: Array | None

    @classmethod
    def by_split(cls, source: Source, targets: Array, splits: Sequence[Array]) -> list[Answers]:
        """Returns those of the row numbers of each split, of (n_rows,) targets of all."""
        weight, group = source.roles.weight, source.roles.group
        numbers = None if group is None else np.unique(group, return_inverse=True)[1].astype(np.int32)
        return [
            cls(
                targets[rows],
                None if weight is None else normalize(weight[rows]),
                None if numbers is None else numbers[rows],
            )
            for rows in splits
        ]

    def split(self, x: Array, first: int = 0) -> Split:
        """Returns these answers, from a row on, as those of (n_rows, *input_shape) rows."""
        rows = slice(first, first + len(x))
        weight, group = (None if it is None else it[rows] for it in (self.weight, self.group))
        return Split(x, self.y[rows], weight, group)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A dataset whose rows are not encoded yet.

    Nothing in it has a value for each row of the source but ``source.rows`` and ``shares``, so that large files fit in
    memory.

    Attributes:
        source: Where the rows are from. Its labels are those of ``test`` alone, and it has no roles.
        classes: The labels as texts, in the order of their numbers; empty for a regression.
        shares: Row numbers of each split.
        known: Answers of the rows that preprocessing is learned from, ``shares.learned_from``.
        validation: Answers of the validation rows; with folds they are in ``known`` instead.
        test: Answers of the rows ``shares.test``, where they are asked for.
        encoder: Encodes a table; None for arrays.
        target: The scaling of a regression's target; None for a classification.
        fingerprint: As of a ``Dataset``.
        notes: As of a ``Dataset``.
    """

    source: Source
    classes: tuple[str, ...]
    shares: Shares
    known: Answers
    validation: Answers
    test: Answers
    encoder: TableEncoder | None
    target: TargetScaling | None
    fingerprint: str
    notes: tuple[str, ...]

    def take(self, *splits: Array) -> list[Array]:
        """Returns the encoded rows of the row numbers of each split, (n_rows, *input_shape).

        Raises:
            DataError: A row of a table cannot be encoded.
        """
        rows = self.source.rows
        if self.encoder is None or isinstance(rows, np.ndarray):
            return [np.ascontiguousarray(np.asarray(rows)[numbers]) for numbers in splits]
        with placed(self.source.place):
            return self.encoder.encode_splits(rows, splits)


def load(
    config: DataConfig,
    folders: Sequence[Path] = (),
    note: Callable[[str], None] = lambda _: None,
    *,
    decide_folds: bool = False,
) -> Dataset:
    """Loads training and validation rows; never holds or returns a test row of the source's own.

    Args:
        config: The source, its target column, the split and the scaling.
        folders: Where ``NAME.npz`` of a built-in source is looked for, in this order; a download goes to the
            last. Without folders it is Keras's own cache.
        note: Called with each of the dataset's ``notes``.
        decide_folds: Whether a rule decides the number of folds where the configuration names none, as for a new study.

    Raises:
        DataError: An unknown source, wrong settings, or a file that cannot be used.
        NotFoundError: The file does not exist.
        UnavailableError: The file cannot be opened, or a download failed.
    """
    if config.source not in SOURCES and (line := announce(locate(config.source, folders))):
        note(f"note: {line}")
    dataset = encode(prepare(config, folders, decide_folds=decide_folds), config)
    for line in dataset.notes:
        note(f"note: {line}")
    return dataset


def prepare(
    config: DataConfig, folders: Sequence[Path] = (), *, decide_folds: bool = False, with_test: bool = False
) -> Prepared:
    """Reads a source, splits its rows and learns their encoding.

    ``with_test`` keeps the answers of the test rows; the other arguments and the errors are those of ``load``.
    """
    _require_valid(config)
    source = read_source(config, folders)
    with _located(source):
        classes, numbers = _numbered(source, config)
        shares, lines = _share(source, numbers, classes or None, config, decide_folds=decide_folds)
        require_weights(source.roles.weight, numbers, classes, shares)
    encoder = None
    if not isinstance(source.rows, np.ndarray):
        with placed(source.place):
            encoder = TableEncoder.learn(source.rows, source.formats, scaling_of(config), shares.learned_from)
    target = _learn_target(source, config, shares)
    targets = target.encode(source.labels) if target else numbers
    test = shares.test if with_test else shares.test[:0]
    answers = Answers.by_split(source, targets, (shares.learned_from, shares.validation, test))
    return Prepared(
        source=replace(source, labels=source.labels[test], roles=Roles()),
        classes=classes,
        shares=shares,
        known=answers[0],
        validation=answers[1],
        test=answers[2],
        encoder=encoder,
        target=target,
        fingerprint=_fingerprint(source, encoder, config, shares),
        notes=(*remarks(source, numbers, classes, shares, encoder, config), *lines),
    )


def _learn_target(source: Source, config: DataConfig, shares: Shares) -> TargetScaling | None:
    """Returns the scaling of a regression's target; None for classes."""
    if source.task == "classification":
        return None
    with placed(_place_of_labels(source, config)):
        return TargetScaling.learn(source.labels[shares.learned_from], config.target_transform)


def encode(prepared: Prepared, config: DataConfig) -> Dataset:
    """Encodes the training and validation rows, and learns their scaling.

    Raises:
        DataError: A row of a table cannot be encoded.
    """
    encoder, shares = prepared.encoder, prepared.shares
    if shares.fold_of is None:
        known, x = prepared.take(shares.learned_from, shares.validation)
        training, validation = prepared.known.split(known), prepared.validation.split(x)
    else:  # the mean of the weights of both together is 1
        (known,), n_training = prepared.take(shares.learned_from), len(shares.training)
        training = prepared.known.split(known[:n_training])
        validation = prepared.known.split(known[n_training:], n_training)
    center, scale = learn_scaling(known, scaling_of(config), encoder.are_numbers if encoder else None)
    names = tuple(_NAMES.get(config.source, {}).get(label, label) for label in prepared.classes)
    return Dataset(
        name=prepared.source.name,
        training=training,
        validation=validation,
        preprocessing=Preprocessing(known.shape[1:], names, center, scale, encoder, prepared.target),
        fingerprint=prepared.fingerprint,
        n_test=prepared.source.n_test(shares.test),
        notes=prepared.notes,
        fold_of=shares.fold_of,
    )


@contextmanager
def _located(source: Source) -> Iterator[None]:
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


def _place_of_labels(source: Source, config: DataConfig) -> str:
    if isinstance(source.rows, np.ndarray):
        return f"{source.place}, labels"
    return f"{source.place}, column {config.target or 'target'!r}"


def _numbered(source: Source, config: DataConfig) -> tuple[tuple[str, ...], Array]:
    """Returns the classes and each row's number; of a regression no classes and the bins of its target."""
    if source.task == "regression":
        require_regressable(source.labels, config, _place_of_labels(source, config))
        return (), _bins(source)
    classes = tuple(str(label) for label in np.unique(source.labels))
    return classes, number_labels(source.labels, classes, source.place)


def _bins(source: Source) -> Array:
    """Returns (n_rows,) bins of the target, of the rows that are drawn from where the file says what each row is."""
    if source.roles.split is None:
        return quantile_bins(source.labels)
    numbers = np.zeros(len(source.labels), np.int32)
    drawn = source.roles.split == TRAINING
    numbers[drawn] = quantile_bins(source.labels[drawn])
    return numbers


def _share(
    source: Source, numbers: Array, classes: Sequence[str] | None, config: DataConfig, *, decide_folds: bool
) -> tuple[Shares, list[str]]:
    """Returns the rows of each split, and lines on folds that a rule chose."""
    roles, groups, place = source.roles, source.roles.group, _place_of_labels(source, config)
    if roles.time is not None:
        return share_by_time(numbers, classes, config, place, roles.time), []
    if roles.split is not None:
        return share_as_told(numbers, classes, config, place, roles), []
    if config.duplicates == "group":
        _, first, inverse = np.unique(hash_rows(source.features), return_index=True, return_inverse=True)
        groups = first[inverse]  # the first of the equal rows: the same number on every machine
    shares = share_rows(
        numbers,
        classes,
        config,
        place,
        with_test=source.n_own_test is None,
        n_own_validation=source.n_own_validation,
        groups=groups,
    )
    rows = FoldRows(numbers, classes, groups, roles.weight, config.split_seed)
    has_own, n_folds = source.n_own_validation is not None, config.folds or 1
    if n_folds > 1:
        if has_own:
            raise DataError(f"{source.place}, {_OWN_VALIDATION.format(n_folds)}")
        return in_folds(shares, rows, n_folds), []
    if config.folds == 1 or not decide_folds or has_own or config.validation_fraction != DEFAULT_FRACTION:
        return shares, []
    return choose_folds(shares, rows, len(numbers) + (source.n_own_test or 0))


def _fingerprint(source: Source, encoder: TableEncoder | None, config: DataConfig, shares: Shares) -> str:
    """Returns 16 hexadecimal digits; what is not the default is hashed where it is used alone."""
    validation = config.validation_fraction if source.n_own_validation is None else None
    test = config.test_fraction if source.n_own_test is None else None
    document: list[object] = [source.digests, [validation, test, config.split_seed]]
    offsets = [column.name for column in encoder.columns if column.offset] if encoder else []
    formats = dict(source.formats)
    if config.group in formats:  # by the key's first name, so that fingerprints do not change
        formats[config.group] = f"{IGNORED}: in data.groups"
    is_array = isinstance(source.rows, np.ndarray)
    special: list[object] = [formats, offsets, config.duplicates, None if is_array else config.group, shares.n_swapped]
    if source.task == "regression":
        special += [source.task, config.target_transform]
    if source.roles.digests:
        special.append(source.roles.digests)
    if shares.n_folds > 1:
        special.append(["folds", shares.n_folds])
    if any(special):
        document.append(special)
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()[:16]


def _require_valid(config: DataConfig) -> None:
    problems = [
        f"data.{name}: must be above 0 and below 1, got {getattr(config, name)}: 0.2 is a common choice"
        for name in ("validation_fraction", "test_fraction")
        if not 0 < getattr(config, name) < 1
    ]
    scalings = get_args(Scaling)
    if config.scaling is not None and config.scaling not in scalings:
        problems.append(f"data.scaling: must be one of {', '.join(scalings)}, got {config.scaling!r}")
    if config.scaling == "quantile" and scaling_of(replace(config, scaling=None)) != "auto":
        problems.append(_QUANTILE.format(config.source))
    if not 0 <= config.split_seed < 2**32:
        problems.append(f"data.split_seed: must be at least 0 and below 2**32, got {config.split_seed}")
    problems += _folds_problems(config)
    problems += conflicts(config)
    if problems:
        raise DataError(problems)


def _folds_problems(config: DataConfig) -> Iterator[str]:
    """Yields a line where the number of folds is wrong, or contradicts another key of ``[data]``."""
    folds = config.folds
    if folds is None:
        return
    if not isinstance(folds, int) or isinstance(folds, bool) or not 1 <= folds <= MAX_FOLDS:
        yield f"data.folds: must be a whole number from 1 to {MAX_FOLDS}, got {folds!r}: 5 is a common choice"
    elif folds > 1:
        others = {key: getattr(config, key) for key in ("time", "split") if getattr(config, key) is not None}
        if config.validation_fraction != DEFAULT_FRACTION:
            others["validation_fraction"] = config.validation_fraction
        for key, value in others.items():
            yield f"data.folds: must be left out with data.{key}, got {folds} and {value!r}: choose one of the two"
