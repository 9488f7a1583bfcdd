"""The fingerprint of a dataset: equal for equal rows, splits and encodings."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from pipelines.config import DataConfig
from pipelines.data.loading.rows import are_grouped_anew
from pipelines.data.readers import Source
from pipelines.data.splits import Shares
from pipelines.data.splits.requirements import SPLITS
from pipelines.encoding.encoder import TableEncoder
from pipelines.files.columns import IGNORED


def fingerprint_of(source: Source, encoder: TableEncoder | None, config: DataConfig, shares: Shares) -> str:
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
    if are_grouped_anew(source, config):
        special.append("copies")
    is_grouped = source.roles.group is not None or config.duplicates == "group"
    if is_grouped and config.group_draw != "largest_first" and _draws(source):
        special.append("groups at random")
    if any(special):
        document.append(special)
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()[:16]


def _draws(source: Source) -> bool:
    """Whether validation or test rows are drawn, and not given by the file."""
    if source.roles.split is not None:
        return len(np.unique(source.roles.split)) < len(SPLITS)
    return source.n_own_validation is None or source.n_own_test is None
