"""``doctor``, ``migrate``: a home that holds together, and one that moves."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import Annotated

import typer

from search.cli.options import Home, Json


def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what is found, and say what was done.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Compare Optuna, MLflow and the spool; exit code 3 where they disagree."""
    from search.doctor import examine
    from search.reporting import display

    result = examine(repair=repair, home=home)
    for remark in result.remarks:
        display.message(remark)
    found, kinds = result.found, Counter(finding.kind for finding in result.found)
    will = "repaired" if repair else "repair"
    lines = [f"{finding.kind}: {finding.subject}; {will}: {finding.repair}" for finding in found]
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    lines.append(f"{len(found)} found: {counts}" if found else "nothing found: Optuna, MLflow and the spool agree")
    document = [{key: getattr(finding, key) for key in ("kind", "subject", "repair")} for finding in found]
    display.show(lines, document, as_json=as_json)
    for finding in result.left if repair else ():
        display.message(f"not mended: {finding.kind}: {finding.subject}")
    if result.left:
        if not repair:
            display.message("next: mlp-search doctor --repair" + (f" --home {shlex.quote(str(home))}" if home else ""))
        raise typer.Exit(3)


def migrate(home: Home = None, as_json: Json = False) -> None:
    """Copy this home's SQLite databases to those of OPTUNA_STORAGE and MLFLOW_TRACKING_URI, on PostgreSQL."""
    from search.operations.migration import migrate as move
    from search.reporting import display

    result = move(home=home)
    lines = []
    for library, tables in (("Optuna", result.optuna), ("MLflow", result.mlflow)):
        rows = ", ".join(f"{count} {name}" for name, count in tables.items() if count)
        lines.append(f"{library}: {rows}")
    document = {"optuna": result.optuna, "mlflow": result.mlflow}
    display.show([*lines, "every row was compared with its source, which is as it was"], document, as_json=as_json)
    display.message("keep OPTUNA_STORAGE and MLFLOW_TRACKING_URI set from now on; artifacts stay in the home")
