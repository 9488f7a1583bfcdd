"""When and by whom something is done."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime


def authorship() -> dict[str, str]:
    """When and by whom something is done: ``at`` and ``by``; the latter is "" if the system does not know the user."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = ""
    return {"at": datetime.now(UTC).isoformat(timespec="seconds"), "by": user}
