"""``run --auto``: one budget for trials and for new seeds of the best of them."""

from __future__ import annotations

from pathlib import Path

import search
from search.cli.commands import finals, studies
from search.reporting import display


def run(spec: search.StudySpec, home: Path | None, pool: str) -> None:
    """Searches, then trains finalists, and shows both."""
    from search.cli.live import watching

    with watching() as observer:
        found = search.run_automatically(spec, home=home, pool=pool, observer=observer)
    lines, document = studies.result_of(found.search)
    document |= {"changed_over": found.changed_over or None, "finals": None}
    if found.changed_over:
        lines.append(found.changed_over)
    if found.finals and found.finals.verdict:
        title = f"finalists of study {spec.name}"
        lines += finals.verdict_tables(found.finals, found.finals.verdict, title)
        document["finals"] = finals.verdict_document(found.finals, found.finals.verdict)
    display.show(lines, document)
    if found.search.asked_to_stop or (found.finals and found.finals.interrupted):
        raise KeyboardInterrupt
    if found.finals:
        display.undelivered(found.finals.undelivered)
        display.suggest(display.command("evaluate", spec.name, home=home), "tests the winner on held-out rows, once")
        return
    studies.show_next(found.search, home)
