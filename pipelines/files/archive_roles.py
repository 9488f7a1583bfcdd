"""Weights, groups, times and splits in an ``.npz`` file: arrays beside its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipelines.config import DataConfig
from pipelines.errors import DataError, placed
from pipelines.files.archives import Array, Header, read_array
from pipelines.files.roles import ROLES, Roles, read_roles
from pipelines.files.sources import nearest
from pipelines.files.text_forms import Series

_DEFAULTS = {"weight": "sample_weight", "group": "groups"}
"""Arrays that are used without being named in ``[data]``."""
_ENDS = {"_val": "validation", "_test": "test"}
_WEIGHTS = "array {!r}: the weights of the rows in loss and metrics"
_UNWEIGHTED = "; the {} rows have equal ones, as there is no array {!r}"
_TOGETHER = "array {!r}: rows with one of its values stay in one split"
_SPLIT = "array {!r}: says which row is a training, validation or test row"
_OWN = "the file has validation and test rows of its own"
_INPUTS = ("x", "y", "x_train", "y_train", "x_val", "y_val", "x_test", "y_test")


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive and the arrays in it that ``[data]`` names, or that have the names of such arrays.

    Attributes:
        path: Its file.
        headers: Of its arrays.
        config: Names arrays other than ``sample_weight`` and ``groups``.
        n_rows: Rows of each split that it has, by the end of the arrays' names: ``""`` for the training rows, ``_val``,
            ``_test``.
    """

    path: Path
    headers: Mapping[str, Header]
    config: DataConfig
    n_rows: Mapping[str, int]

    def roles(self) -> Roles:
        """Returns the roles of the training rows and, after them, the weights of the validation rows.

        Raises:
            DataError: An array that is named does not exist, or does not fit the rows.
        """
        names = self._names()
        columns = {key: self._column(name, "") for key, name in names.items()}
        with placed(self.path):
            roles = read_roles({key: values for key, (values, _) in columns.items()}, "array")
        digests = {names[key]: digest for key, (_, digest) in columns.items()}
        notes = [_SPLIT.format(names["split"])] if "split" in names else []
        roles = replace(roles, used=tuple(names.values()), notes=(*roles.notes, *notes))
        if "group" in names:
            roles = self._with_groups(roles, names["group"], digests)
        if roles.weight is not None:
            roles = self._with_weights(roles, roles.weight, names["weight"], digests)
        return replace(roles, digests=tuple(sorted(digests.items())))

    def _with_groups(self, roles: Roles, name: str, digests: dict[str, str]) -> Roles:
        if self.config.duplicates == "group":
            rule = "must be left out for a file with an array of groups"
            raise DataError(f"{self.path}: data.duplicates {rule}, got 'group' beside {name!r}: choose one of the two")
        if roles.time is None and not self.n_rows.keys() >= _ENDS.keys():
            assert roles.group is not None
            # Validation rows of its own are in no group of the training rows: each is one of its own.
            group = np.unique(roles.group, return_inverse=True)[1]
            own = group.max() + 1 + np.arange(self.n_rows.get("_val", 0))
            roles = replace(roles, group=np.concatenate([group, own])) if len(own) else roles
            return replace(roles, notes=(*roles.notes, _TOGETHER.format(name)))
        del digests[name]
        why = "data.time splits the rows" if roles.time is not None else _OWN
        return replace(roles, group=None, notes=(*roles.notes, f"array {name!r}: not used, because {why}"))

    def _with_weights(self, roles: Roles, weight: Array, name: str, digests: dict[str, str]) -> Roles:
        """Adds the weights of validation rows, and checks those of test rows."""
        weights, note = [weight], _WEIGHTS.format(name)
        used: list[str] = []
        for end, split in _ENDS.items():
            other = self._other(name, end)
            if end in self.n_rows and other in self.headers:
                weight, digests[other] = self._read_weight(other, end)
                used.append(other)
            elif end in self.n_rows:
                weight = np.full(self.n_rows[end], weights[0].mean())
                note += _UNWEIGHTED.format(split, other)
            else:
                continue
            weights.append(weight)
        roles = replace(roles, used=(*roles.used, *used))
        kept = np.concatenate(weights[: 1 + ("_val" in self.n_rows)])
        if np.ptp(kept) == 0 and np.ptp(weights[-1]) == 0:
            for array in (name, *used):
                del digests[array]
            return replace(roles, weight=None)
        return replace(roles, weight=kept, notes=(*roles.notes, note))

    def test_weight(self) -> Array | None:
        """Returns the (n_rows,) weights of the archive's own test rows; None where they have none."""
        name = self._names().get("weight")
        if name is None or self._other(name, "_test") not in self.headers:
            return None
        return self._read_weight(self._other(name, "_test"), "_test")[0]

    @staticmethod
    def _other(name: str, end: str) -> str:
        return name.removesuffix("_train") + end

    def _read_weight(self, name: str, end: str) -> tuple[Array, str]:
        values, digest = self._column(name, end)
        with placed(self.path):
            weight = read_roles({"weight": values}, "array").weight
        assert weight is not None
        return weight, digest

    def _names(self) -> dict[str, str]:
        """Returns the array of each role."""
        names, problems = {}, []
        named = [getattr(self.config, key) for key in ROLES]
        for key, given in zip(ROLES, named, strict=True):
            default = _DEFAULTS.get(key, "")
            name = given or ("" if default in named else default)  # an array has one role
            found = [array for array in (name, f"{name}_train") if array in self.headers and name]
            if found:
                names[key] = found[0]
            if given and (not found or given in _INPUTS):
                others = [array for array in self.headers if array not in _INPUTS]
                rule = f"must name an array beside the inputs and labels, got {given!r}{nearest(given, others)}"
                problems.append(f"{self.path}: data.{key} {rule}: correct it")
            if given and key in ("time", "split") and len(self.n_rows) > 1:
                rule = "must be left out for a file with validation or test rows of its own"
                problems.append(f"{self.path}: data.{key} {rule}, got {given!r}")
        if problems:
            raise DataError(problems)
        return names

    def _column(self, name: str, end: str) -> tuple[Series, str]:
        """Returns the values of an array, one a row of a split, and their hash."""
        import pandas as pd

        header, n_rows = self.headers[name], self.n_rows[end]
        if header.dtype.hasobject or header.dtype.kind not in "biufUSMm":
            rule = "must hold numbers, texts or dates without pickled objects"
            raise DataError(f"{self.path}: {name} {rule}, got {header.dtype}: convert it")
        if header.shape not in ((n_rows,), (n_rows, 1)):
            raise DataError(f"{self.path}: {name} must be ({n_rows},), one value a row, got shape {header.shape}")
        array, digest = read_array(self.path, name, header)
        if array.dtype.kind == "S":
            array = np.char.decode(array, "utf-8", "replace")
        native = array.astype(array.dtype.newbyteorder("="), copy=False)  # Arrow takes no other order of bytes
        return pd.Series(native.reshape(-1), name=name), digest
