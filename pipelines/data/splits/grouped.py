"""Holds back groups of rows at random, so that their size and their classes are near to a share of all."""

from __future__ import annotations

import warnings

import numpy as np

from pipelines.files.archives import Array

_N_ORDERS = 20
_TOLERANCE = 0.25
"""A draw is taken that holds back no less and no more than the share by this part of it, of that many in turn."""
_N_FOLDS = 20


class _Side:
    """The groups that are held back, and what is known of the others.

    The number after the classes stands for all rows. Sums of squared differences from the asked numbers of rows are
    compared: those of each class, divided by its rows, and that of all rows, which counts as much as the classes.
    """

    def __init__(self, groups: list[list[tuple[int, int]]], totals: list[int], fraction: float) -> None:
        n_classes = len(totals) - 1
        self._groups = groups
        self._asked = [fraction * total for total in totals]
        self._weight = [1 / max(total, 1) for total in totals[:-1]] + [n_classes / totals[-1]]
        self.held_back = np.zeros(len(groups), bool)
        self.n_rows = [0] * len(totals)
        self._n_kept = [0] * len(totals)
        for members in groups:
            for number, _ in members:
                self._n_kept[number] += 1

    def gain(self, group: int) -> float:
        """Returns by how much the sum falls if a group is held back."""
        *classes, all_rows = (
            self._weight[number] * n * (2 * (self._asked[number] - self.n_rows[number]) - n)
            for number, n in self._groups[group]
        )
        return sum(classes) + min(all_rows, 0)  # or else the first groups would bring too many rows of their classes

    def has(self, group: int, number: int) -> bool:
        """Whether a group has rows of a class."""
        return any(number == own for own, _ in self._groups[group])

    def is_spared(self, group: int, required: int, needed: set[int]) -> bool:
        """Whether enough groups of each needed class would be kept without this one."""
        return all(self._n_kept[number] > required for number, _ in self._groups[group] if number in needed)

    def hold_back(self, group: int) -> None:
        """Moves a group from those that are kept to those that are held back."""
        self.held_back[group] = True
        for number, n in self._groups[group]:
            self.n_rows[number] += n
            self._n_kept[number] -= 1


def hold_back_groups(
    labels: Array, groups: Array, fraction: float, seed: int, required: int, *, every_class: bool
) -> Array:
    """Returns the (n_rows,) truth of whether each row is held back, the same for all rows of a group.

    Groups are taken in random order where they bring the numbers of rows nearer to the share. A class, or all rows,
    that would be on one side alone brings the group with it that changes the numbers least.

    Args:
        labels: (n_rows,) class numbers.
        groups: (n_rows,) values; rows with equal ones stay together.
        fraction: Share that is held back.
        seed: Seed of the random numbers.
        required: Number of groups that are kept at least; there is one more.
        every_class: Whether the groups that are kept must have each class as often, and one that is held back too,
            where the groups allow it.
    """
    _, group_of = np.unique(groups, return_inverse=True)
    _, labels = np.unique(labels, return_inverse=True)
    members, totals = _members(group_of, labels)
    total = len(totals) - 1
    needed = {*range(total), total} if every_class else {total}
    random = np.random.RandomState(seed)
    best, least = np.zeros(len(members), bool), (len(totals) + 1, 0.0)
    for _ in range(_N_ORDERS):
        side = _Side(members, totals, fraction)
        _fill(side, random.permutation(len(members)).tolist(), required, needed)
        difference = abs(side.n_rows[total] / totals[total] / fraction - 1)
        missing = sum(not side.n_rows[number] for number in needed)
        if (missing, difference) < least:
            best, least = side.held_back, (missing, difference)
        if not missing and difference <= _TOLERANCE:
            break
    return best[group_of]


def _members(group_of: Array, labels: Array) -> tuple[list[list[tuple[int, int]]], list[int]]:
    """Returns the numbers of rows of each class in each group, and in all; the last number is that of all classes."""
    n_classes = int(labels.max()) + 1
    pairs, counts = np.unique(group_of.astype(np.int64) * n_classes + labels, return_counts=True)
    members: list[list[tuple[int, int]]] = [[] for _ in range(int(group_of.max()) + 1)]
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        members[pair // n_classes].append((pair % n_classes, count))
    for own in members:
        own.append((n_classes, sum(count for _, count in own)))
    return members, [*np.bincount(labels).tolist(), len(labels)]


def _fill(side: _Side, order: list[int], required: int, needed: set[int]) -> None:
    """Holds back groups in this order."""
    for group in order:
        if side.gain(group) > 0 and side.is_spared(group, required, needed):
            side.hold_back(group)
    for number in sorted(needed):
        if side.n_rows[number]:
            continue
        left = [group for group in order if side.has(group, number) and not side.held_back[group]]
        spared = [group for group in left if side.is_spared(group, required, needed)]
        if spared or number == max(needed):
            side.hold_back(max(spared or left, key=side.gain))


def hold_back_largest(labels: Array, groups: Array, fraction: float, seed: int, required: int) -> Array:
    """Returns what ``hold_back_groups`` does, as earlier versions drew it: the largest groups are held back first.

    At least ``required`` parts of the rows are kept, in each of which are groups.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    n_folds = min(_N_FOLDS, len(np.unique(groups)), np.bincount(labels).max())
    n_held_back = max(1, min(round(fraction * n_folds), n_folds - required))
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings(action="ignore"):  # of classes with fewer rows than folds
        folds = splitter.split(labels, labels, groups)
        rows = np.concatenate([fold for _, fold in folds][:n_held_back])
    return np.isin(np.arange(len(labels)), rows)
