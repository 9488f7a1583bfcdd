"""``doctor``, ``migrate``: repair a home, move it to PostgreSQL."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from search.cli.options import Home, Json
from search.reporting import display

Repair = Annotated[bool, typer.Option("--repair", help="Repair each disagreement, and report each repair.")]


def doctor(repair: Repair = False, home: Home = None, as_json: Json = False) -> None:
    """Compare Optuna, MLflow, the registry and the spool; exit code 3 if they disagree.

    Example: mlp-search doctor --repair
    """
    from search.doctor import diagnose

    result = diagnose(repair=repair, home=home)
    for remark in result.remarks:
        display.message(remark)
    found, kinds = result.found, Counter(finding.kind for finding in result.found)
    will = "repaired" if repair else "repair"
    lines = [f"{finding.kind}: {finding.subject}; {will}: {finding.repair}" for finding in found]
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    lines.append(f"{len(found)} found: {counts}" if found else "OK: Optuna, MLflow and the spool agree")
    document = [{key: getattr(finding, key) for key in ("kind", "subject", "repair")} for finding in found]
    display.show(lines, document, as_json=as_json)
    for finding in result.left if repair else ():
        display.message(f"not repaired: {finding.kind}: {finding.subject}")
    if result.left:
        if not repair:
            display.message(f"next: {display.command('doctor', '--repair', home=home)}")
        raise typer.Exit(3)


def migrate(home: Home = None, as_json: Json = False) -> None:
    """Copy this home's SQLite databases to PostgreSQL, to OPTUNA_STORAGE and MLFLOW_TRACKING_URI.

    Example: OPTUNA_STORAGE=postgresql://… MLFLOW_TRACKING_URI=postgresql://… mlp-search migrate
    """
    from search.operations.migration import migrate as copy_databases

    result = copy_databases(home=home)
    lines = []
    for library, tables in (("Optuna", result.optuna), ("MLflow", result.mlflow)):
        rows = ", ".join(f"{count} {name}" for name, count in tables.items() if count)
        lines.append(f"{library}: {rows}")
    lines.append("every copied row equals its source; the source is unchanged")
    display.show(lines, {"optuna": result.optuna, "mlflow": result.mlflow}, as_json=as_json)
    display.message("keep OPTUNA_STORAGE and MLFLOW_TRACKING_URI set from now on; artifacts stay in the home")
