"""Loads a named source or a file as a Dataset: training and validation rows, class names, fingerprint.

Test rows are held out. Where a source has test rows of its own, they pass through the fingerprint's hash and
are not kept; where it has none, a stratified share is drawn and left out. ``sealed.open_test`` returns them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipelines.config import DataConfig
from pipelines.data.datasets import Dataset
from pipelines.data.loading.fingerprint import fingerprint_of
from pipelines.data.loading.prepared import Answers, Prepared
from pipelines.data.loading.rows import located, number_rows, place_of_labels, split_rows
from pipelines.data.loading.settings import require_valid
from pipelines.data.notes import remarks
from pipelines.data.preprocessing import Preprocessing, learn_scaling
from pipelines.data.readers import Source, read_source
from pipelines.data.splits import Shares, require_weights
from pipelines.data.targets import TargetScaling
from pipelines.encoding.encoder import TableEncoder
from pipelines.encoding.pieces import learn_pieces
from pipelines.errors import placed
from pipelines.files.roles import Roles
from pipelines.files.sources import SOURCES, locate, scaling_of
from pipelines.files.tables import announce

_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_NAMES = {"fashion_mnist": {str(number): name for number, name in enumerate(_FASHION)}}


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
    announce_size(config, folders, note)
    dataset = encode(prepare(config, folders, decide_folds=decide_folds), config)
    for line in dataset.notes:
        note(f"note: {line}")
    return dataset


def announce_size(config: DataConfig, folders: Sequence[Path], note: Callable[[str], None]) -> None:
    """Says how much memory a large file will need, before it is read; arguments and errors are those of ``load``."""
    if config.source not in SOURCES and (line := announce(locate(config.source, folders))):
        note(f"note: {line}")


def prepare(
    config: DataConfig, folders: Sequence[Path] = (), *, decide_folds: bool = False, with_test: bool = False
) -> Prepared:
    """Reads a source, splits its rows and learns their encoding.

    ``with_test`` keeps the answers of the test rows; the other arguments and the errors are those of ``load``.
    """
    require_valid(config)
    source = read_source(config, folders)
    with located(source):
        classes, numbers = number_rows(source, config)
        shares, lines = split_rows(source, numbers, classes or None, config, decide_folds=decide_folds)
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
        fingerprint=fingerprint_of(source, encoder, config, shares),
        notes=(*remarks(source, numbers, classes, shares, encoder, config), *lines),
    )


def _learn_target(source: Source, config: DataConfig, shares: Shares) -> TargetScaling | None:
    """Returns the scaling of a regression's target; None for classes."""
    if source.task == "classification":
        return None
    with placed(place_of_labels(source, config)):
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
    pieces = learn_pieces(known, encoder.are_numbers, center, scale) if encoder else None
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
        pieces=pieces,
    )
