"""Findings of the doctor: one disagreement each, with its repair."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

ROUNDS = 5
"""Rounds of a repair: a repaired run may show another finding, such as a missing model."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A disagreement.

    Attributes:
        kind: The kind of disagreement, in a few words.
        subject: The place: a study and its run, a model and its version, or a file.
        repair: The repair, in words.
        apply: Repairs it.
    """

    kind: str
    subject: str
    repair: str
    apply: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of a check or a repair.

    Attributes:
        repair: Whether the disagreements are repaired.
        found: The disagreements; after a repair including those that it repaired.
        left: The disagreements that remain.
        remarks: Messages about what was skipped.
    """

    repair: bool
    found: list[Finding] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def check(self, find: Callable[[], Iterable[Finding]]) -> None:
        """Finds disagreements and, where they are to be repaired, repairs them until none is found."""
        left = found = list(find())
        for _ in range(ROUNDS if self.repair else 0):
            for finding in left:
                finding.apply()
            left = list(find()) if left else []
            seen = {(finding.kind, finding.subject) for finding in found}
            found = found + [finding for finding in left if (finding.kind, finding.subject) not in seen]
        self.found.extend(found)
        self.left.extend(left)
