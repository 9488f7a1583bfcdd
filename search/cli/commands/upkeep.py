"""``ui``, ``doctor``, ``migrate``: show, repair and move a home."""

from __future__ import annotations

import webbrowser
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.options import Home, option
from search.reporting import display

if TYPE_CHECKING:
    from search.doctor import Finding

Port = Annotated[int, typer.Option(metavar="N", min=1, max=65535, help="The port to listen on.")]
Host = Annotated[str, option("ADDRESS", "The address to listen on; the default is reachable from this machine only.")]
Open = Annotated[bool, typer.Option("--open", help="Open the first address in the browser.")]
_N_STUDIES = 10
Repair = Annotated[bool, typer.Option("--repair", help="Repair each disagreement, and report each repair.")]


def ui(port: Port = 5000, host: Host = "127.0.0.1", browser: Open = False, home: Home = None) -> None:
    """Serve MLflow's page on this home until Ctrl-C; the first address is the study that changed last.

    Example: mlp-search ui --open
    """
    from search.operations.ui import serving

    with suppress(KeyboardInterrupt), serving(home, host, port) as server:
        studies = server.studies()
        lines, document = addresses(server.url, studies)
        display.show(lines, document)
        first = next(iter(studies.values()), str(document["models"]))
        if browser and not webbrowser.open(first):
            display.message("no browser was found: open the first address in one")
        server.wait()


def addresses(url: str, studies: Mapping[str, str]) -> tuple[list[str], dict[str, object]]:
    """The lines of ``ui``: the studies that changed last, the number of others, and the other pages.

    Args:
        url: The server.
        studies: The address of each study, the one that changed last first.

    Returns:
        Lines, and the same as a document.
    """
    from search.tracking.experiment_view import experiments_link, models_link  # imports NumPy, which no help waits for

    models, experiments = models_link(url), experiments_link(url)
    shown = dict(list(studies.items())[:_N_STUDIES])
    n_more = len(studies) - len(shown)
    more = [f"and {n_more:,} more {'study' if n_more == 1 else 'studies'}: {experiments}"] if n_more else []
    lines = [*(f"{name}: {link}" for name, link in shown.items()), *more, f"registered models: {models}"]
    document = {"url": url, "studies": shown, "models": models, "more_studies": n_more, "experiments": experiments}
    return [*lines, f"MLflow is at {experiments}; Ctrl-C ends it"], document


def doctor(repair: Repair = False, home: Home = None) -> None:
    """Compare Optuna, MLflow, the registry and the spool; exit code 3 if they disagree.

    Example: mlp-search doctor --repair
    """
    from search.cli.live import working
    from search.doctor import diagnose

    with working("comparing Optuna, MLflow, the registry and the spool"):
        result = diagnose(repair=repair, home=home)
    for remark in result.remarks:
        display.message(remark)
    document = [display.fields(finding, "kind", "subject", "repair") for finding in result.found]
    display.show(diagnosis_lines(result.found, repair=repair), document)
    if not result.left:
        return
    if not repair:
        display.suggest(display.command("doctor", "--repair", home=home))
    for finding in result.left if repair else ():
        display.message(f"not repaired: {finding.kind}: {finding.subject}")
    raise typer.Exit(3)


def diagnosis_lines(found: Sequence[Finding], *, repair: bool) -> list[str]:
    """A line for each disagreement, and how many there are of each kind."""
    counts = Counter(finding.kind for finding in found)
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    will = "repaired" if repair else "repair"
    lines = [f"{finding.kind}: {finding.subject}; {will}: {finding.repair}" for finding in found]
    return [*lines, f"{len(lines)} found: {kinds}" if lines else "OK: Optuna, MLflow and the spool agree"]


def migrate(home: Home = None) -> None:
    """Copy this home's SQLite databases to PostgreSQL, to OPTUNA_STORAGE and MLFLOW_TRACKING_URI.

    Example: OPTUNA_STORAGE=postgresql://… MLFLOW_TRACKING_URI=postgresql://… mlp-search migrate
    """
    from search.operations.migration import migrate as copy_databases

    result = copy_databases(home=home)
    lines = ["every copied row equals its source; the source is unchanged"]
    for library, tables in (("MLflow", result.mlflow), ("Optuna", result.optuna)):
        rows = ", ".join(f"{count} {name}" for name, count in tables.items() if count)
        lines.insert(0, f"{library}: {rows}")
    display.show(lines, display.fields(result, "optuna", "mlflow"))
    display.message("keep OPTUNA_STORAGE and MLFLOW_TRACKING_URI set from now on; artifacts stay in the home")
