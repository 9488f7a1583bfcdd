"""Reads a source: its rows and labels; of its own test rows only their number and hash."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipelines.config import DataConfig
from pipelines.data import tables
from pipelines.data.splits import hash_rows, require_split_weights
from pipelines.data.targets import clean_labels, missing_note, number_labels, require_positive, task_note
from pipelines.errors import DataError, placed
from pipelines.files.archive_headers import require_usable
from pipelines.files.archive_roles import Archive
from pipelines.files.archives import Array, Header, read_array, read_headers, require_memory
from pipelines.files.columns import FINE, IGNORED, STRIPPED
from pipelines.files.roles import LEFT_OUT, ROLES, Roles
from pipelines.files.sources import SOURCES, locate, stem_of
from pipelines.files.tables import Table
from pipelines.objectives import Task

VALIDATION_ARRAYS = ("x_val", "y_val")
TEST_ARRAYS = ("x_test", "y_test")
TABLE_KEYS = ("target", "text_columns", "numeric", "ignore")
_MERGED = (
    "array {!r}: values of {} features differ, but not as float32, such as those of feature {} ({} values become {}):"
    " subtract the smallest value of each before saving"
)
_TYPES = "array {!r} holds {}, {} {}: they are taken to have one unit; save both with one type"
_UNUSED = (
    "{}: not used; x and y, of training, validation (_val) and test rows, sample_weight and groups are, and arrays that"
    " weight, group, time or split in [data] names"
)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The contents of a source, without test rows of its own.

    Attributes:
        name: Short name, for people.
        place: Its name in an error: the name or the path.
        rows: (n_rows, *input_shape) uint8 or float32, or a table without its target.
        labels: (n_rows,) integers or texts to classify, float64 to regress.
        digests: Hashes of all its arrays, test arrays included; of a table, the file's hash and the target.
        n_own_test: Test rows of its own, in the archive at ``place``; None where it has none.
        n_own_validation: Validation rows of its own, the last of ``rows``; None where it has none.
        test_rows: Hashes of its own test rows, to count copies of them.
        formats: How texts of a table's columns were read, by the column's name.
        roles: How the rows are weighted and split.
        notes: Lines about what is not used, or is read in a special way.
        task: The type of the labels.
    """

    name: str
    place: str
    rows: Array | Table
    labels: Array
    digests: tuple[str, ...]
    n_own_test: int | None = None
    n_own_validation: int | None = None
    test_rows: Array | None = None
    formats: Mapping[str, str] = field(default_factory=dict)
    roles: Roles = field(default_factory=Roles)
    notes: tuple[str, ...] = ()
    task: Task = "classification"

    def n_test(self, drawn: Array) -> int:
        """Returns the number of test rows: the source's own, else those that are drawn."""
        return len(drawn) if self.n_own_test is None else self.n_own_test

    def features(self, ignored: Collection[str] = ()) -> Array | Table:
        """Returns the rows without ignored columns, which no network sees: they do not tell equal rows apart.

        The column of a group stays: equal rows of two groups are no copies.

        Args:
            ignored: Names of columns that are ignored besides those that ``formats`` says so of.
        """
        if isinstance(self.rows, np.ndarray):
            return self.rows
        group = f"{IGNORED}: {LEFT_OUT['group']}"
        left_out = {name for name, text in self.formats.items() if text.startswith(IGNORED) and text != group}
        names = [name for name in self.rows.columns if name in left_out or name in ignored]
        if len(names) == len(self.rows.columns):  # the encoder refuses such a table, and says why
            return self.rows
        return self.rows.drop(columns=names) if names else self.rows


def read_source(config: DataConfig, folders: Sequence[Path] = ()) -> Source:
    """Reads rows and labels; arguments and errors are those of ``loading.load``."""
    name = config.source
    _require_keys(config)
    if name in SOURCES and config.task == "regression":
        why = "which is also the task of objectives such as val_rmse: leave it out"
        raise DataError(f"data.task: must be classification for {name}, got 'regression', {why}")
    if name == "digits":
        return _read_digits()
    path = locate(name, folders)
    if path.suffix.lower() == ".npz":
        return _read_npz(name if name in SOURCES else path.stem, path, config)
    rows, task, labels, formats, roles, notes = tables.read(path, config)
    with path.open("rb") as file:
        digests = (hashlib.file_digest(file, "sha256").hexdigest(), config.target or "target")
    own = Source(stem_of(name), str(path), rows, labels, digests)
    return replace(own, formats=formats, roles=roles, notes=tuple(notes), task=task)


def _require_keys(config: DataConfig) -> None:
    """Refuses keys that the kind of source does not have."""
    name, rules = config.source, {}
    if name in SOURCES or name.lower().endswith(".npz"):
        rules = dict.fromkeys(TABLE_KEYS, "only tables have one")
    if name in SOURCES:
        rules |= dict.fromkeys(ROLES, "only tables and .npz files have one")
    given = {key: getattr(config, key) for key in rules if getattr(config, key) is not None}
    if given:
        raise DataError(
            f"data.{key}: {rules[key]}, got {value!r} for {name}: leave it out" for key, value in given.items()
        )


def convert_inputs(x: Array, place: str) -> Array:
    """Converts the rows of an array to ``float32``, unless they are ``uint8``.

    Raises:
        DataError: NaN or infinite values, or larger ones than ``float32`` holds.
    """
    if x.dtype == np.uint8:
        return x
    with np.errstate(over="ignore"):
        x = x.astype(np.float32)
    n_wrong = x.size - np.count_nonzero(np.isfinite(x))
    if n_wrong:
        raise DataError(f"{place}: must hold finite float32 numbers, got {n_wrong} NaN or infinite: clean them")
    return x


def _read_digits() -> Source:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x, y = bunch.images.astype(np.uint8), bunch.target.astype(np.int32)
    digests = tuple(hashlib.sha256(array.tobytes()).hexdigest() for array in (x, y))
    return Source("digits", "digits", x, y, digests)


def archive_of(path: Path, headers: Mapping[str, Header], config: DataConfig) -> Archive:
    """Returns what reads the weights, groups, times and splits of an archive."""
    names = [inputs for inputs, _ in _pairs(headers)]
    n_rows = {inputs.removeprefix("x").removesuffix("_train"): headers[inputs].shape[0] for inputs in names}
    return Archive(path, headers, config, n_rows)


def _pairs(headers: Mapping[str, Header]) -> list[tuple[str, str]]:
    """Returns the names of inputs and labels of each split, the training rows' first and the test rows' last."""
    if "x" in headers and "x_train" not in headers:
        return [("x", "y")]
    own = [pair for pair in (VALIDATION_ARRAYS, TEST_ARRAYS) if any(array in headers for array in pair)]
    return [("x_train", "y_train"), *own]


def _read_npz(name: str, path: Path, config: DataConfig) -> Source:
    headers = read_headers(path)
    pairs = _pairs(headers)
    own = pairs[0]
    require_usable(path, headers, pairs)
    require_memory(path, sum(headers[array].n_bytes_kept for pair in pairs for array in pair))
    archive = _Inputs(path, headers)
    read = {pair: archive.read(pair) for pair in pairs if pair != TEST_ARRAYS}
    beside = archive_of(path, headers, config)
    roles = beside.roles()
    required = 1 if config.time or config.split else 4 - len(pairs)
    task, labels = clean_labels(read[own][1], config.task, f"{path}, {own[1]}", required)
    rows, targets, n_validation, test_rows = [read[own][0]], [labels], None, None
    if VALIDATION_ARRAYS in read:
        x, y = read[VALIDATION_ARRAYS]
        rows, n_validation = [*rows, x], len(x)
        targets.append(_matching_labels(y, task, labels, config, f"{path}, y_val"))
    if pairs[-1] == TEST_ARRAYS:  # test rows are checked, pass through the hash and are not kept
        x, y = archive.read(TEST_ARRAYS)
        own_labels = _matching_labels(y, task, labels, config, f"{path}, y_test")
        _require_test_weights(beside, own_labels, task)
        test_rows = hash_rows(x)
    x, y = (arrays[0] if len(arrays) == 1 else np.concatenate(arrays) for arrays in (rows, targets))
    asked = task if name in SOURCES else config.task
    about = task_note(task, labels, f"array {own[1]!r}", asked, reads_texts=False)
    about += missing_note(labels, f"array {own[1]!r}")
    notes = (*about, *_unused(headers, pairs, roles.used), *_types(headers, pairs), *archive.notes, *roles.notes)
    n_test = None if test_rows is None else len(test_rows)
    source = Source(name, str(path), x, y, tuple(archive.digests), n_test, n_validation)
    return replace(source, test_rows=test_rows, notes=notes, formats=archive.formats, roles=roles, task=task)


def _matching_labels(labels: Array, task: Task, training_labels: Array, config: DataConfig, place: str) -> Array:
    """Returns the cleaned labels of another split.

    Classes must occur in the training labels; values must be positive where their logarithm is asked for.
    """
    cleaned = clean_labels(labels, task, place)[1]
    if task == "classification":
        number_labels(cleaned, np.unique(training_labels).astype(str).tolist(), place)
    else:
        require_positive(cleaned, config, place)
    return cleaned


def _require_test_weights(archive: Archive, labels: Array, task: Task) -> None:
    """Checks the weights of the archive's own test rows, which ``require_weights`` does not see."""
    weight = archive.test_weight()
    if weight is None:
        return
    names, numbers = np.unique(labels, return_inverse=True)
    classes = names.astype(str).tolist() if task == "classification" else ()
    with placed(archive.path):
        require_split_weights(weight, numbers, classes, "test")


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Reads inputs and labels, and collects their hashes, the labels that had blanks around them, and notes."""

    path: Path
    headers: Mapping[str, Header]
    digests: list[str] = field(default_factory=list)
    formats: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def read(self, names: tuple[str, str]) -> tuple[Array, Array]:
        """Reads the inputs and labels of a split; the labels as they are."""
        (x, x_digest), (y, y_digest) = (read_array(self.path, name, self.headers[name]) for name in names)
        self.digests.extend((x_digest, y_digest))
        inputs = convert_inputs(x, f"{self.path}, {names[0]}")
        self.notes.extend(_merged_features(names[0], x))
        if y.dtype.kind in "SU" and np.any(np.char.strip(y) != y):
            self.formats[names[1]] = STRIPPED
            self.notes.append(f"array {names[1]!r}: blanks around labels are removed")
        return inputs, y


def _merged_features(name: str, x: Array) -> Iterator[str]:
    """Yields a line if values of a feature differ, but not as float32: Unix times, large numbers with a fine step."""
    if x.dtype.itemsize < 4 or x.dtype == np.float32:
        return
    rows = x.reshape(len(x), -1)
    low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
    steps = np.spacing(np.maximum(np.abs(low), np.abs(high)).astype(np.float32))
    counts = {
        number: (len(np.unique(rows[:, number])), len(np.unique(rows[:, number].astype(np.float32))))
        for number in np.flatnonzero((high > low) & (steps > FINE * (high - low)))
    }
    merged = [(number, *count) for number, count in counts.items() if count[0] > count[1]]
    if merged:
        yield _MERGED.format(name, len(merged), *merged[0])


def _unused(headers: Mapping[str, Header], pairs: Sequence[tuple[str, str]], others: Sequence[str]) -> Iterator[str]:
    used = {*others, *(name for pair in pairs for name in pair)}
    rename = pairs[0] == ("x", "y")
    for name in headers:
        if name in (*VALIDATION_ARRAYS, *TEST_ARRAYS) and rename:
            yield f"array {name!r}: not used beside x and y; to use it, name the training rows x_train and y_train"
        elif name not in used:
            yield _UNUSED.format(f"array {name!r}")


def _types(headers: Mapping[str, Header], pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yields a line for inputs of which some are pixels from 0 to 255 and others are not, by their type."""
    first = pairs[0][0]
    for name, _ in pairs[1:]:
        if (headers[name].dtype == np.uint8) != (headers[first].dtype == np.uint8):
            yield _TYPES.format(name, headers[name].dtype, first, headers[first].dtype)
