"""What the doctor says: one disagreement, and what it knows to do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

ROUNDS = 5
"""A repair may uncover what stood behind it, a run that comes back without its model say: so it is looked at again."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A disagreement.

    Attributes:
        kind: What sort of disagreement, in a few words; the same for all of its sort.
        subject: Where: the study and its run, the model and its version, or the file.
        repair: What a repair does, in plain words.
        mend: Does it; None where nothing can.
    """

    kind: str
    subject: str
    repair: str
    mend: Callable[[], object] | None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a look, or a repair, came to.

    Attributes:
        found: The disagreements; after a repair those that it saw to, in its order.
        left: Those that are there still.
        remarks: Lines on what was not looked at or is left alone.
    """

    found: tuple[Finding, ...]
    left: tuple[Finding, ...]
    remarks: tuple[str, ...] = ()


def repair(look: Callable[[], Sequence[Finding]], *, repair: bool) -> tuple[list[Finding], list[Finding]]:
    """Looks, and mends until a look finds nothing more to mend; what was found in all, and what is left."""
    left = list(look())
    found = list(left)
    for _ in range(ROUNDS if repair else 0):
        able = [finding for finding in left if finding.mend]
        if not able:
            break
        for finding in able:
            if finding.mend:
                finding.mend()
        seen = {(finding.kind, finding.subject) for finding in found}
        left = list(look())
        found += [finding for finding in left if (finding.kind, finding.subject) not in seen]
    return found, left
